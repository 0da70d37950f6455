"""What the judges of a use case say of tonight's answers: their rows, the scores that follow, and counts for people."""

from collections.abc import Sequence
from typing import NamedTuple

from pipelines.evaluation import judge as judges
from pipelines.evaluation.judge import Question, Ruling
from pipelines.evaluation.metrics import Item
from pipelines.foundation.step import Night
from pipelines.sections import Judge

SIDES = ("champion", "candidate")
WORTH = {"1": (0.0, 1.0), "2": (1.0, 0.0), "tie": (0.5, 0.5), None: (None, None)}  # champion's and candidate's score of a verdict


class Judged(NamedTuple):
    """The work of all judges on one night."""

    scores: list[dict]  # rows of the table `scores`
    judges: dict[str, dict]  # counts by the judge's name


def judge_items(night: Night, examples: Sequence[dict], items: Sequence[Item], candidate: str) -> Judged:
    """Put up to `max_items` pairs with two replies to each judge; its judgements are kept in the lake.

    `candidate` is the candidate's key. A task without replies is not judged. Raises UserError for a bad prompt file.
    """
    done = Judged([], {})
    if "reply" not in night.usecase.task.answer:
        return done
    prompts = {row["example_id"]: row["prompt"] for row in examples}
    pairs = [item for item in items if item.champion is not None and item.candidate is not None]
    for name, judge in night.usecase.evaluation.judges.items():
        chosen = pairs[: judge.max_items]
        questions = [question for item in chosen for question in _questions(item, prompts[item.example_id], judge)]
        graded = judges.grade(night, name, judge, questions, "night")
        judges.keep(night, name, "night", graded)
        rulings = judges.verdicts(graded, judge)
        scores = _scores(night, name, judge, chosen, rulings, candidate)
        done.judges[name] = {"judge": judges.identity(night, judge), "kind": judge.kind} | _count(judge, scores, rulings)
        done = done._replace(scores=done.scores + scores)
    return done


def _questions(item: Item, prompt: str, judge: Judge) -> list[Question]:
    """One question of a pair, in which output 1 is the candidate, or one of each side."""
    old, new = item.champion.response or "", item.candidate.response or ""
    about = item.example_id, item.group_id, prompt, item.gold.response or ""
    if judge.kind == "pairwise":
        return [Question(*about, new, old)]
    return [Question(*about, old, None, "champion"), Question(*about, new, None, "candidate")]


def _scores(night: Night, name: str, judge: Judge, items: Sequence[Item], rulings: Sequence[Ruling], candidate: str) -> list[dict]:
    """Rows of the table `scores`, one an item: 1, 0 or a half each where compared, 1 for a pass where graded."""
    verdicts = {(ruling.item, ruling.side): ruling.verdict for ruling in rulings}
    rows = []
    for item in items:
        if judge.kind == "pairwise":
            worth = WORTH[verdicts[item.example_id, ""]]
        else:
            grades = [verdicts[item.example_id, side] for side in SIDES]
            worth = tuple(None if grade is None else float(int(grade) >= judge.pass_from) for grade in grades)
        about = {"example_id": item.example_id, "group_id": item.group_id, "night": night.night, "metric": name, "model": candidate}
        rows.append(about | dict(zip(SIDES, worth, strict=True)))
    return rows


def _count(judge: Judge, scores: Sequence[dict], rulings: Sequence[Ruling]) -> dict:
    """Counts of items, and how often the two orders agree and name the answer shown first (of what was not the same text)."""
    whole = [row for row in scores if row["champion"] is not None and row["candidate"] is not None]
    found = {
        "items": len(scores),
        "unscored": len(scores) - len(whole),
        "wins": sum(row["candidate"] > row["champion"] for row in whole),
        "losses": sum(row["candidate"] < row["champion"] for row in whole),
        "ties": sum(row["candidate"] == row["champion"] for row in whole),
        "usable": bool(scores) and len(scores) - len(whole) <= judge.max_unscored * len(scores),
    }
    if judge.kind == "pointwise":
        passed = {side: sum(row[side] for row in whole) / len(whole) if whole else None for side in SIDES}
        return found | {f"{side}_passes": None if share is None else round(share, 4) for side, share in passed.items()}
    both = [ruling.orders for ruling in rulings if ruling.verdict is not None]
    named = [order[0] == verdict for orders in both for order, verdict in orders.items() if verdict in ("1", "2")]
    return found | {
        "inconsistent": sum(orders["12"] != orders["21"] for orders in both),
        "order_consistency": round(sum(orders["12"] == orders["21"] for orders in both) / len(both), 4) if both else None,
        "first_position_share": round(sum(named) / len(named), 4) if named else None,
    }
