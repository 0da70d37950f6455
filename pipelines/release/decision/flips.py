"""Sealed rows that the champion had right and the candidate has wrong, with both answers: what an average hides.

Where the task has labels these are wrong labels in place of right ones; else the largest falls of the gate's first
metric. Pairs that a judge decided for the champion come with its raw replies.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.foundation import privacy
from pipelines.foundation.lake import among
from pipelines.foundation.step import Night
from pipelines.release.slices import slice_value

LISTED, JUDGED = 30, 10
FALL = 0.3  # of a graded metric in [0, 1], from which an item counts as flipped


class Answer(NamedTuple):
    """A label and a reply; None where the task has none, or no answer was produced."""

    label: str | None
    reply: str | None


class Flip(NamedTuple):
    """One item, its scores and both answers."""

    item: str
    group: str
    champion: float
    candidate: float
    prompt: str
    gold: Answer
    old: Answer  # the champion's
    new: Answer
    slices: dict[str, str]
    failed: bool  # it lies in a slice that failed


class Reply(NamedTuple):
    """What one member of a judge wrote."""

    member: str
    shown: str  # which output stood first (12, 21), or whose answer was graded
    verdict: str
    raw: str


class Loss(NamedTuple):
    """An item that a judge decided for the champion."""

    judge: str
    flip: Flip
    replies: list[Reply]


class Flips(NamedTuple):
    """What got worse, item by item."""

    metric: str  # empty: nothing was scored item by item
    threshold: float  # a fall of more than this counts
    worse: int
    better: int
    listed: list[Flip]  # at most LISTED, those in failed slices first, then the largest falls
    losses: list[Loss]  # at most JUDGED a judge
    lost: dict[str, int]  # judge to items that it decided for the champion


class _Source(NamedTuple):
    """What the items are read from."""

    night: Night
    done: dict[str, dict]
    champion: str
    candidate: str


def find(night: Night, done: dict[str, dict]) -> Flips:
    """The flips of a night, from the tables at the versions that its steps wrote; empty where the two models are one."""
    evaluated = done.get("evaluate", {})
    candidate = (evaluated.get("candidate") or {}).get("key") or done.get("finetune", {}).get("model")
    source = _Source(night, done, (evaluated.get("champion") or {}).get("key"), candidate)
    if source.champion == candidate or not isinstance(evaluated.get("scores"), int) or night.lake.version("scores") is None:
        return Flips("", 0.0, 0, 0, [], [], {})
    scores = _scores(source)
    metric, threshold = _metric(night, scores)
    worse = [row for row in scores.get(metric, []) if row["champion"] - row["candidate"] > threshold]
    better = sum(row["candidate"] - row["champion"] > threshold for row in scores.get(metric, []))
    listed = _listed(source, worse)
    losses, lost = _losses(source, scores)
    return Flips(metric, threshold, len(worse), better, listed, losses, lost)


def _scores(source: _Source) -> dict[str, list[dict]]:
    """Tonight's whole pairs by metric; a night of an earlier release scored one model only, and named none."""
    rows = source.night.lake.read("scores", source.done["evaluate"]["scores"], where=f"night = '{source.night.night}'").to_pylist()
    found: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        if row["model"] in (source.candidate, None) and row["champion"] is not None and row["candidate"] is not None:
            found[row["metric"]].append(row)
    return found


def _metric(night: Night, scores: dict[str, list[dict]]) -> tuple[str, float]:
    if "accuracy" in scores:
        return "accuracy", 0.5
    return next(((name, FALL) for name in night.usecase.item_metrics if name in scores), ("", 0.0))


def _listed(source: _Source, rows: Sequence[dict]) -> list[Flip]:
    """The rows that are told, in full; where slices failed, all are read to find those in them."""
    ordered = sorted(rows, key=lambda row: (row["candidate"] - row["champion"], row["example_id"]))
    failed = _failed(source)
    found = _whole(source, ordered if failed else ordered[:LISTED])
    return sorted(found, key=lambda flip: not flip.failed)[:LISTED]


def _whole(source: _Source, rows: Sequence[dict]) -> list[Flip]:
    """Rows of scores with their prompts and answers, in the same order; rows that were erased since are left out."""
    night, names = source.night, source.night.usecase.evaluation.slices
    ids = [row["example_id"] for row in rows]
    version = source.done.get("split", {}).get("examples")
    examples = {row["example_id"]: row for row in _read(night, "examples", version, ids)}
    tonight = [row for row in _read(night, "predictions", source.done["evaluate"].get("predictions"), ids) if row["night"] == night.night]
    answers = {(row["model"], row["example_id"]): Answer(row["label"], row["response"]) for row in tonight}
    failed, shield = _failed(source), privacy.shield(night.usecase.privacy, "report")
    found = []
    for row in rows:
        example = examples.get(row["example_id"])
        if example is None:
            continue
        said = (answers.get((model, row["example_id"]), Answer(None, None)) for model in (source.champion, source.candidate))
        gold, old, new = (_hidden(answer, shield) for answer in (Answer(example["label"], example["response"]), *said))
        values = {name: slice_value(name, example) for name in names}
        scores, prompt = (row["champion"], row["candidate"]), privacy.hide(example["prompt"] or "", shield)
        lies = any(pair in failed for pair in values.items())
        found.append(Flip(row["example_id"], row["group_id"], *scores, prompt, gold, old, new, values, lies))
    return found


def _hidden(answer: Answer, shield: privacy.Shield) -> Answer:
    """An answer as the policy `report` shows it."""
    return answer._replace(reply=answer.reply and privacy.hide(answer.reply, shield))


def _failed(source: _Source) -> set[tuple[str, str]]:
    """The slices and values on which the candidate was shown worse."""
    return {(row["slice"], row["value"]) for row in source.done["gate"].get("slices") or [] if row["verdict"] == "FAIL"}


def _read(night: Night, table: str, version: object, ids: Iterable[str]) -> list[dict]:
    """Rows of one version by example; none where the version is not recorded."""
    if not isinstance(version, int):
        return []
    return [row for where in among("example_id", list(ids)) for row in night.lake.read(table, version, where=where).to_pylist()]


def _losses(source: _Source, scores: dict[str, list[dict]]) -> tuple[list[Loss], dict[str, int]]:
    """The first JUDGED items of each judge that it decided for the champion, with what was written about them."""
    judges, version = source.night.usecase.evaluation.judges, source.done["evaluate"].get("judgements")
    lost = {name: [row for row in scores.get(name, []) if row["champion"] > row["candidate"]] for name in judges}
    if not any(lost.values()) or not isinstance(version, int):
        return [], {name: len(rows) for name, rows in lost.items() if rows}
    rows = source.night.lake.read("judgements", version, where=f"night = '{source.night.night}'").to_pylist()
    shield = privacy.shield(source.night.usecase.privacy, "report")
    replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
    for row in rows:
        if row["purpose"] == "night":
            told = row["verdict"] if row["verdict"] is not None else f"unscored: {row['unscored']}"
            raw = privacy.hide(row["raw"] or "", shield)
            replies[row["judge"], row["item"]].append(Reply(row["member"], row["order"] or row["side"] or "", told, raw))
    found = []
    for name, items in lost.items():
        for flip in _whole(source, sorted(items, key=lambda row: row["example_id"])[:JUDGED]):
            found.append(Loss(name, flip, replies[name, flip.item]))
    return found, {name: len(items) for name, items in lost.items() if items}
