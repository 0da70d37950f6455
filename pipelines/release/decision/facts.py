"""What a promotion decision rests on, gathered from the night's results, the ledger and the lake: data only, no wording.

It works from the gate on: before `promote` has run, the decision is open. Nights of an earlier release, without slices,
judges or safety, have empty parts.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.foundation import embedded, ledger
from pipelines.foundation.ledger import Entry
from pipelines.foundation.step import ORDER, Night, fingerprint, results, row_counts, versions
from pipelines.release import approval as approvals
from pipelines.release import pins
from pipelines.release.decision import flips, panels
from pipelines.release.decision.flips import Flips
from pipelines.release.decision.panels import Panel
from pipelines.sections import UseCase

FILES_SHOWN = 20
MOVES = ("promotion", "staging")


class Metric(NamedTuple):
    """One row of the gate's evidence; differences are candidate minus champion, None where there were too few pairs."""

    name: str
    role: str  # metric | judge | safety
    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None  # (low, high) is the two-sided 1 - 2 alpha interval, low and high one-sided 1 - alpha bounds
    high: float | None
    margin: float
    visible: float | None  # smallest drop that so many pairs show with 80 % power
    n: int
    clusters: int
    missing: int
    verdict: str  # PASS | FAIL | INSUFFICIENT_DATA
    read: bool  # by the gate; else it is advice
    corrected: bool  # for its judge's measured errors
    better: bool
    why: str
    mcnemar: float | None  # exact p-value of no difference, a vote a group


class Outcome(NamedTuple):
    """What moved, versions as the registry counts them; None is the base model, or nothing in staging."""

    kind: str  # champion | staging | dropped: from staging | none | waiting: for a person | open: promote has not run
    version: str | None  # of the candidate, once it is registered
    before: str | None  # the champion that the candidate was compared with
    champion: str | None  # that stands now
    staging: str | None
    why: str


class Trained(NamedTuple):
    """How a model came to be; empty or None where it was not recorded, fingerprints as in `pins`."""

    night: str
    rows: int | None
    synthetic: int | None
    settings: str
    code: str


class Lineage(NamedTuple):
    """Where the rows came from."""

    tables: dict[str, int]  # table to version
    split: dict  # the step's counts
    files: list[dict]  # rows of the table `files`, the first FILES_SHOWN
    file_count: int
    rows: dict[str, int]  # read, accepted, quarantined
    steps: dict[str, str]  # step to its content key


class Approval(NamedTuple):
    """A person's answer."""

    approved: bool
    why: str  # it counts, or does not
    by: str  # user name; empty: nobody answered
    at: str
    reason: str  # in that person's words
    triggered_by: str
    seq: int  # of the ledger entry


class Chain(NamedTuple):
    """The ledger as this decision finds it."""

    entries: list[Entry]  # of this night, and those that admitted or suspended its judges
    length: int


class Facts(NamedTuple):
    """Everything that the card, the page and the request for approval tell."""

    usecase: UseCase
    night: str
    verdict: str  # PROMOTE | REJECT | INSUFFICIENT_DATA
    reason: str
    outcome: Outcome
    model: str  # content key of the candidate
    base: str
    run: str  # MLflow run that trained it
    candidate: Trained
    champion: Trained | None  # None: the base model, or a night that the lake does not know
    metrics: list[Metric]
    panels: list[Panel]
    slices: list[dict]
    staging: dict  # what the fresh rows say of the model in staging; empty: none is there
    flips: Flips
    safety: dict  # the step's result; empty: not measured
    lineage: Lineage
    looks: int | None
    planned_looks: int
    alpha: float
    approval: Approval | None
    chain: Chain


def gather(night: Night) -> Facts:
    """Everything about the night's decision; raises UserError where the gate has not decided, or the ledger was changed."""
    gate, tuned = night.before("gate"), night.before("finetune")
    done, settings = results(night.lake, night.night), night.usecase.gate
    entries = ledger.entries(night.lake)
    approval = _approval(approvals.find(night))
    pinned = {"settings": fingerprint(night.usecase.model_dump()), "code": pins.code()} | _pinned(entries, tuned["model"])
    trained = Trained(night.night, tuned.get("rows"), tuned.get("synthetic_rows"), **pinned)
    return Facts(
        usecase=night.usecase,
        night=night.night,
        verdict=gate["verdict"],
        reason=gate.get("reason") or "",
        outcome=_outcome(night, done, approval),
        model=tuned["model"],
        base=embedded.NAME,
        run=tuned.get("run_id") or "",
        candidate=trained,
        champion=_champion(night, done, entries),
        metrics=_metrics(gate),
        panels=panels.gather(night, done, entries),
        slices=gate.get("slices") or [],
        staging=gate.get("staging") or {},
        flips=flips.find(night, done),
        safety=done.get("safety") or {},
        lineage=_lineage(night, done),
        looks=gate.get("looks"),
        planned_looks=gate.get("planned_looks") or settings.looks,
        alpha=gate.get("alpha") or settings.alpha,
        approval=approval,
        chain=Chain(_concerned(night, gate, entries), len(entries)),
    )


def _metrics(gate: dict) -> list[Metric]:
    better, found = gate.get("better") or [], []
    for name, row in (gate.get("metrics") or {}).items():
        sides = {key: row.get(key) for key in ("champion", "candidate", "difference", "low", "high", "visible")}
        counts = {key: row.get(key) or 0 for key in ("n", "clusters", "missing", "margin")}
        told = {"role": row.get("role") or "metric", "verdict": row.get("verdict") or "INSUFFICIENT_DATA", "why": row.get("why") or ""}
        flags = {"read": row.get("read", True), "corrected": bool(row.get("corrected")), "better": name in better}
        sides |= {"mcnemar": row.get("mcnemar")}
        found.append(Metric(name=name, **sides, **counts, **told, **flags))
    return found


def _outcome(night: Night, done: dict[str, dict], approval: Approval | None) -> Outcome:
    before = done.get("evaluate", {}).get("champion", {}).get("version")
    moved = done.get("promote")
    if moved is None:
        waits = night.usecase.approval == "required" and bool(approvals.pending(night)) and approval is None
        return Outcome("waiting" if waits else "open", None, before, before, None, "")
    stands = moved.get("champion_version")
    kind = moved.get("moved") or ("champion" if done["gate"]["verdict"] == "PROMOTE" and stands == moved["version"] else "none")
    return Outcome(kind, moved["version"], before, stands, moved.get("staging_version"), moved.get("why") or "")


def _champion(night: Night, done: dict[str, dict], entries: Sequence[Entry]) -> Trained | None:
    """The training of the champion, found by its content key, and what its promotion pinned down."""
    key = done.get("evaluate", {}).get("champion", {}).get("key")
    rows = night.lake.read("memo", night.lake.version("memo"), ["night", "result"], f"step = 'finetune' AND key = '{key}'").to_pylist()
    if not rows:
        return None
    tuned = json.loads(rows[0]["result"])
    told = {"settings": "", "code": ""} | _pinned(entries, str(key))
    return Trained(tuned["night"], tuned.get("rows"), tuned.get("synthetic_rows"), **told)


def _pinned(entries: Sequence[Entry], model: str) -> dict[str, str]:
    """Settings and code as they stood when a model moved; empty where it never did."""
    body = next((entry.body for entry in reversed(entries) if entry.kind in MOVES and entry.body.get("model") == model), {})
    return {name: body[name] for name in ("settings", "code") if isinstance(body.get(name), str)}


def _lineage(night: Night, done: dict[str, dict]) -> Lineage:
    split, tables = done.get("split", {}), versions(done)
    files: list[dict] = []
    if "files" in tables:
        read = night.lake.read("files", tables["files"], where=f"night = '{night.night}'").to_pylist()
        files = sorted(read, key=lambda row: row["source"] or "")
    kept = {name: split[name] for name in ("train", "test", "groups", "duplicates") if name in split}
    steps = {name: done[name]["key"] for name in ORDER if name in done}
    return Lineage(tables, kept, files[:FILES_SHOWN], len(files), row_counts(done), steps)


def _concerned(night: Night, gate: dict, entries: Sequence[Entry]) -> list[Entry]:
    judges = {found.get("entry") for found in (gate.get("judges") or {}).values()}
    return [entry for entry in entries if entry.night == night.night or entry.hash in judges]


def _approval(found: Entry | None) -> Approval | None:
    """The answer that an entry holds."""
    if found is None:
        return None
    told = (str(found.body.get(name) or "") for name in ("why", "approver", "at", "reason", "triggered_by"))
    return Approval(bool(found.body.get("approved")), *told, found.seq)
