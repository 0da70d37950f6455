"""Judges and panels: every member asked in both orders, raw replies kept, what cannot be read is unscored and never zero.

A judge is known by what decides its verdicts: model, prompt and parameters of each member. A reply that was paid for
before is used again; those of a calibration or of its anchors only on the same night, since a model may have changed
behind its name.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.evaluation import panel, wording
from pipelines.evaluation.asking import MATCHER, Seat, put
from pipelines.evaluation.wording import Question as Question
from pipelines.foundation import embedded, ledger
from pipelines.foundation.step import Night, fingerprint
from pipelines.sections import Judge

CODE = 3  # of how a question is put and a reply is read: part of a judge's identity
log = logging.getLogger("pipelines.judge")


class Ruling(NamedTuple):
    """What a panel says of one question."""

    item: str
    group: str
    side: str
    orders: dict[str, str | None]  # the panel's verdict by order; pointwise: one, under ""
    verdict: str | None  # both orders merged; None: unscored
    failed: bool  # unscored, and a member gave no reply at all (no endpoint, no connection, a refusal by the server)


def grade(night: Night, name: str, judge: Judge, questions: Sequence[Question], purpose: str) -> list[dict]:
    """Put the questions to every member, in both orders where two answers are compared; returns rows of `judgements`.

    `purpose` is night, label, probe or anchor. An endpoint that is missing or fails leaves its questions unscored, with
    the reason. What was replied before comes from the memo; the caller `keep`s the rows at the end. Raises UserError for a
    prompt file that is missing or lacks a placeholder.
    """
    template = _template(night, name, judge)
    about = template, _occasion(night, judge, purpose)
    rows = [
        row
        for member, key in members(night, judge).items()
        for row in put(Seat(night, name, judge, purpose, member, key, *about), questions)
    ]
    log.info("%s, %s: %d judgements, %d unscored", name, purpose, len(rows), sum(row["verdict"] is None for row in rows))
    return rows


def keep(night: Night, name: str, purpose: str, rows: Sequence[dict]) -> int:
    """Replace what the table holds of this night, judge and purpose; returns the version. Safe to repeat."""
    return night.lake.replace("judgements", rows, night=night.night, purpose=purpose, judge=name)


def members(night: Night, judge: Judge) -> dict[str, str]:
    """The hash of each member by the name of its endpoint."""
    return {name: _member(night, judge, name) for name in judge.members}


def identity(night: Night, judge: Judge) -> str:
    """The hash by which admissions and the gate know a judge."""
    return fingerprint(judge.kind, judge.grades, judge.pass_from, sorted(members(night, judge).values()))


def verdicts(rows: Sequence[dict], judge: Judge) -> list[Ruling]:
    """The panel's verdicts from the rows of its members, one an item and side, in the order of the rows."""
    by_question: dict[tuple[str, str], dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_question[row["item"], row["side"]][row["order"]].append(row)
    decide = panel.majority if judge.kind == "pairwise" else panel.median_grade
    found = []
    for (item, side), asked in by_question.items():
        ruled = {order: decide([row["verdict"] for row in asked.get(order, [])]) for order in wording.orders(judge)}
        merged = panel.merge(ruled["12"], ruled["21"]) if judge.kind == "pairwise" else ruled[""]
        every = [row for several in asked.values() for row in several]
        failed = merged is None and any(row["verdict"] is None and row["raw"] is None for row in every)
        found.append(Ruling(item, every[0]["group_id"], side, ruled, merged, failed))
    return found


def _occasion(night: Night, judge: Judge, purpose: str) -> str:
    """A calibration measures the judge as it is that night, and anchors are judged anew each night: an old reply would hide a change.

    A suspension makes another occasion of the same night: the judge had changed behind its name.
    """
    if purpose == "night":
        return ""
    own = identity(night, judge)
    suspensions = sum(entry.kind == "suspension" and entry.body["judge"] == own for entry in ledger.entries(night.lake))
    return f"{'anchors' if purpose == 'anchor' else 'calibration'} of {night.night}, {suspensions} suspensions before"


def _member(night: Night, judge: Judge, name: str) -> str:
    scale = list(judge.grades) if judge.kind == "pointwise" else []
    if name == MATCHER:
        from pipelines.evaluation import matcher

        return fingerprint(MATCHER, matcher.VERSION, judge.kind, scale)
    endpoint = night.profile.endpoints.get(name)
    who = endpoint.model_dump(include={"kind", "url", "model", "structured"}) if endpoint else name
    if endpoint is not None and endpoint.kind == "embedded":
        who |= {"model": embedded.NAME}
    return fingerprint("judge", CODE, who, night.usecase.prompt(judge.prompt), judge.kind, scale, judge.max_new_tokens)


def _template(night: Night, name: str, judge: Judge) -> str:
    """The judge's prompt, checked; empty where every member is the matcher."""
    if MATCHER in judge.members and judge.kind == "pairwise":
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: the judge {name} is pairwise, but its member {MATCHER} grades single answers"
        )
    if set(judge.members) == {MATCHER}:
        return ""
    if not judge.prompt:
        raise UserError(f"{night.usecase.folder}/usecase.yaml: the judge {name} names no prompt: write one under prompts/")
    template = night.usecase.prompt(judge.prompt)
    for needed in wording.NEEDED[judge.kind]:
        if f"{{{needed}}}" not in template:
            raise UserError(f"{night.usecase.folder}/prompts/{judge.prompt}: the placeholder {{{needed}}} is missing")
    return template
