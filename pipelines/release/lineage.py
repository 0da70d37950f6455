"""What a model was made of: `python -m pipelines lineage --usecase support --version 3 --json`.

Every version of the registry, promoted or not: the ledger's promotion where there is one, else what was pinned on the
version when it was registered, and the lake's tables at the versions of its night. What an erasure or the time has taken
is said as such, under `unknown`. Ids, hashes, paths and counts only: no text of a row.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import ledger, moves, registry, subjects
from pipelines.foundation.ledger import Entry
from pipelines.foundation.step import Night, open_night
from pipelines.release import lineage_page

if TYPE_CHECKING:
    from datetime import datetime

    from mlflow.entities import Run

PINNED = ("verdict", "verdict_entry", "tables", "split", "judges", "code", "libraries", "settings", "prompts", "safety", "run")


class Rows(NamedTuple):
    """What became of the rows that an adapter was trained on."""

    known: bool  # whether they were written down at all
    found: int  # of them, in the tables
    sources: Counter[str]  # traffic, corrected
    methods: Counter[str]  # of synthetic rows
    used: set[str]  # row_ids whose text one of them holds or was made from
    untold: int  # rows of traffic of which it was not recorded what they hold
    sides: Counter[str]  # examples of all nights up to this one


def trace_version(usecase: str, profile: str, version: str) -> dict:
    """Everything that a version rests on, and the path of its page; raises UserError for a version that does not exist."""
    return trace(open_night(usecase, profile, moves.ALWAYS), version)


def trace(opened: Night, version: str) -> dict:
    """The same for a use case that is open, on whichever night."""
    usecase, model = opened.usecase.name, registry.model(opened, version)
    registered = registry.client(opened).get_model_version(usecase, model.version)
    tags, unknown = registered.tags, []
    date = tags[registry.NIGHT_TAG]
    chain, night = ledger.entries(opened.lake), opened._replace(night=date)
    barred = subjects.barred(chain, model.key)
    pinned = _pinned(chain, model.key, tags, unknown)
    tables = _tables(night, pinned["tables"], unknown)
    told = _told(night, model.key)
    rows = _rows(night, model.key, pinned["tables"], told.get("at"))
    run_id = pinned["run"] or told.get("run_id") or registered.run_id
    files = _files(night, pinned["tables"], rows, unknown)
    trained = _trained(told, rows, unknown)
    split = {"night": pinned["split"] or {}, "so_far": dict(sorted(rows.sides.items()))}
    found = {"usecase": usecase, "version": model.version, "model": model.key, "run": run_id, "night": date}
    found |= {"verdict": {"verdict": pinned["verdict"], **_verdict(chain, date, model.key, pinned)}}
    found |= {"moves": _moves(chain, model.version), "champion": champion(chain, model.version)}
    found |= {"contains_erased_data": bool(barred), "barred": barred, "tables": tables, "files": files, "rows": trained, "split": split}
    found |= {name: pinned[name] for name in ("prompts", "code", "libraries", "settings", "safety")}
    found |= {"judges": _judges(chain, pinned["judges"] or {}), "datasets": _datasets(night, run_id, unknown), "unknown": unknown}
    return found | {"page": str(lineage_page.write(Path(night.profile.state) / "reports" / usecase, found))}


def champion(chain: Sequence[Entry], version: str) -> str:
    """`now`, `before` or `never`."""
    if moves.champion_version(chain) == version:
        return "now"
    made = any(entry.kind in ("promotion", "rollback") and entry.body["version"] == version for entry in chain)
    return "before" if made else "never"


def render(found: dict) -> str:
    """The same for a terminal."""
    return lineage_page.text(found)


def _pinned(chain: Sequence[Entry], model: str, tags: dict[str, str], unknown: list[str]) -> dict:
    """What was written down when the version was made or moved; None where it was not."""
    tables = {name.removeprefix("nightshift.table."): value for name, value in tags.items() if name.startswith("nightshift.table.")}
    found = dict.fromkeys(PINNED) | {
        "tables": {name: int(value) for name, value in tables.items() if value.isdigit()},
        "verdict": tags.get("nightshift.verdict"),
        "settings": tags.get("nightshift.settings"),
    }
    bodies = [json.loads(tags[registry.PINS_TAG])] if registry.PINS_TAG in tags else []
    bodies += [entry.body for entry in chain if entry.kind in ("promotion", "staging") and entry.body.get("model") == model]
    for body in bodies:  # the ledger's word is the last: it cannot be changed unseen
        found |= {name: body[name] for name in PINNED if body.get(name) is not None}
    if missing := [name for name in ("code", "libraries", "prompts", "judges", "safety") if found[name] is None]:
        unknown.append(f"{', '.join(missing)}: not written down when this version was registered")
    return found


def _verdict(chain: Sequence[Entry], night: str, model: str, pinned: dict) -> dict:
    """The ledger entry of the decision on a model."""
    own = [entry for entry in chain if (entry.kind, entry.night) == ("verdict", night)]
    named = [entry for entry in own if entry.hash == pinned["verdict_entry"]]
    found = named or [entry for entry in own if entry.body.get("candidate") == model]
    return {"entry": found[-1].seq, "hash": found[-1].hash} if found else {"entry": None, "hash": pinned["verdict_entry"]}


def _moves(chain: Sequence[Entry], version: str) -> list[dict]:
    """Every entry that brought a version somewhere, or away."""
    kinds = {"version": registry.MOVES, "abandoned": ("rollback",), "dropped": ("staging",)}
    return [
        {"entry": entry.seq, "kind": entry.kind, "night": entry.night, "at": entry.at, "hash": entry.hash, "as": key}
        for entry in chain
        for key, allowed in kinds.items()
        if entry.kind in allowed and entry.body.get(key) == version
    ]


def _judges(chain: Sequence[Entry], judges: dict[str, dict]) -> dict[str, dict]:
    """Each judge with its members' hash and the ledger entry that admitted, refused or suspended it."""
    seqs = {entry.hash: (entry.seq, entry.kind, entry.night) for entry in chain}
    found = {}
    for name, judge in judges.items():
        seq, kind, night = seqs.get(judge.get("entry") or "", (None, None, None))
        found[name] = judge | {"entry": seq, "hash": judge.get("entry") or None, "kind": kind, "night": night}
    return found


def _tables(night: Night, versions: dict[str, int], unknown: list[str]) -> dict[str, dict]:
    """Each table at the version of that night, and whether that version is kept."""
    found = {}
    for table, version in versions.items():
        oldest = night.lake.oldest(table)
        kept = oldest is not None and oldest <= version
        found[table] = {"version": version, "kept": kept}
        if not kept:
            told = "nothing of the table is kept" if oldest is None else f"version {oldest}, the oldest that is kept, is read for it"
            unknown.append(f"{table} version {version} is gone, by an erasure or in time: {told}")
    return found


def _told(night: Night, model: str) -> dict:
    """What the training said of itself; empty where nobody remembers."""
    where = f"step = 'finetune' AND key = '{model}'"
    rows = night.lake.read("memo", night.lake.version("memo"), ["result", "at"], where).to_pylist()
    newest = max(rows, key=lambda row: row["at"], default=None)
    return json.loads(newest["result"]) | {"at": newest["at"]} if newest else {}


def _rows(night: Night, model: str, versions: dict[str, int], trained_at: "datetime | None") -> Rows:
    """The trained rows with the rows of traffic behind them; the tables stream, of what is kept here there is an id each."""
    lake, up_to = night.lake, f"night <= '{night.night}'"
    ids = {row["example_id"] for row in _scan(night, "trained", lake.version("trained"), ["example_id"], f"model = '{model}'")}
    made = {
        row["example_id"]: row for row in _scan(night, "synthetic", versions.get("synthetic"), ["example_id", "parent_id", "method"], up_to)
    }
    rows = Rows(bool(ids), 0, Counter(), Counter(made[key]["method"] or "unnamed" for key in ids & made.keys()), set(), 0, Counter())
    behind = set(ids)
    for key in ids & made.keys():
        while key in made and (key := made[key]["parent_id"]) not in behind:
            behind.add(key)
    found, untold, answers = rows.methods.total(), 0, _answers(night, trained_at)
    for row in _scan(night, "examples", versions.get("examples"), ["example_id", "source", "label", "split", "rows"], up_to):
        rows.sides[row["split"]] += 1
        if row["example_id"] in behind:
            untold += row["rows"] is None
            rows.used.update(json.loads(row["rows"] or "[]"))
        if row["example_id"] in ids:
            found += 1
            rows.sources["corrected" if answers.get(row["example_id"], row["label"]) != row["label"] else row["source"]] += 1
    return rows._replace(found=found, untold=untold)


def _answers(night: Night, until: "datetime | None") -> dict[str, str]:
    """The label that people had given a row when the training ended, by example_id."""
    found = _scan(night, "labels", night.lake.version("labels"), ["example_id", "label", "at"], "")
    ordered = sorted((row for row in found if until is None or row["at"] <= until), key=lambda row: (row["at"], row["label"]))
    return {row["example_id"]: row["label"] for row in ordered}


def _trained(told: dict, rows: Rows, unknown: list[str]) -> dict:
    """Counts of the rows that an adapter was trained on."""
    count = told.get("rows")
    if count is None:
        unknown.append("how many rows it was trained on: the result of its training is no longer kept")
    if not rows.known:
        unknown.append("which rows it was trained on: they were not written down, or all of them are gone")
    elif count is not None and count > rows.found:
        unknown.append(f"{count - rows.found} of the {count} rows that it was trained on: they are in no table any more")
    if rows.untold:
        unknown.append(f"the messages behind {rows.untold} rows: an earlier release did not write down which rows a prompt holds")
    by_source = dict(sorted(rows.sources.items())) | {"synthetic": dict(sorted(rows.methods.items()))}
    return {"count": count, "found": rows.found, "by_source": by_source, "messages": len(rows.used)}


def _files(night: Night, versions: dict[str, int], rows: Rows, unknown: list[str]) -> list[dict]:
    """The files that were read up to that night, with the rows of each that the model was made of."""
    counts: Counter[str] = Counter()
    up_to = f"night <= '{night.night}'"
    for row in _scan(night, "clean", versions.get("clean"), ["row_id", "file"], up_to):
        counts[row["file"]] += row["row_id"] in rows.used
    if lost := len(rows.used) - counts.total():
        unknown.append(f"the files of {lost} of the {len(rows.used)} messages that it was made of: they are in the table clean no more")
    columns = ["file", "source", "night", "read", "accepted"]
    read = sorted(_scan(night, "files", versions.get("files"), columns, up_to), key=lambda row: (row["night"], row["source"] or ""))
    return [
        {"sha256": row["file"], "path": row["source"], "night": row["night"]}
        | {"read": row["read"], "accepted": row["accepted"], "used": counts[row["file"]] if rows.known else None}
        for row in read
    ]


def _scan(night: Night, table: str, version: int | None, columns: list[str], where: str) -> Iterable[dict]:
    if version is None or night.lake.version(table) is None:
        return
    for batch in night.lake.scan(table, version, columns, where):
        yield from batch.to_pylist()


def _datasets(night: Night, run_id: str | None, unknown: list[str]) -> list[dict]:
    """The dataset inputs that MLflow holds of the run."""
    run = _run(night, run_id)
    if run is None:
        unknown.append(f"what MLflow knew of the run {run_id}: it is there no more")
        return []
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return [
        {"name": given.dataset.name, "digest": given.dataset.digest, "source": json.loads(given.dataset.source)}
        | {"profile": json.loads(given.dataset.profile or "{}"), "context": next((tag.value for tag in given.tags), "")}
        for given in sorted(inputs, key=lambda given: given.dataset.name)
    ]


def _run(night: Night, run_id: str | None) -> "Run | None":
    from mlflow.exceptions import MlflowException

    try:
        return registry.client(night).get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
