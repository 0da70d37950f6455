"""Metrics of one answer, in [0, 1]: accuracy of the label, ROUGE-L and chrF of the reply; and macro-F1 over all answers.

`tokens` is minus the number of tokens that the model wrote, `cost` minus the dollars of 1,000 such requests, where the
profile has a price of the model: as with every other metric, more is better. A missing answer (none was produced) or a
missing reference scores None, never zero; an answer that says nothing, or whose first line is no label, was produced
and scores 0.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.macro_f1 import macro_f1
from pipelines.foundation.rendering import Answer

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

NAMES = {
    "label": ("accuracy", "tokens"),
    "reply": ("rouge_l", "chrf", "tokens"),
    "label_reply": ("accuracy", "rouge_l", "chrf", "tokens"),
}


class Written(NamedTuple):
    """An answer with the number of tokens that the model wrote; None: not known."""

    label: str | None
    response: str | None
    tokens: int | None = None
    dollars: float | None = None  # of 1,000 such requests


class Item(NamedTuple):
    """A sealed row and what the two models answered; None: no answer was produced."""

    example_id: str
    group_id: str
    gold: Answer
    champion: Written | None
    candidate: Written | None


def score_items(task: str, items: Sequence[Item], night: str, model: str) -> list[dict]:
    """Rows of the table `scores`, one an item and metric of the task (`label`, `reply`, `label_reply`); `model`: the candidate's key."""
    return [
        {
            "example_id": item.example_id,
            "group_id": item.group_id,
            "night": night,
            "metric": metric,
            "model": model,
            "champion": score(metric, item.gold, item.champion),
            "candidate": score(metric, item.gold, item.candidate),
        }
        for metric in names(task, items)
        for item in items
    ]


def names(task: str, items: Sequence[Item]) -> tuple[str, ...]:
    """The metrics of a task, with `cost` where the model has a price."""
    answers = (answer for item in items for answer in (item.champion, item.candidate))
    return NAMES[task] + (("cost",) if any(answer is not None and answer.dollars is not None for answer in answers) else ())


def score(metric: str, gold: Answer, answer: Written | None) -> float | None:
    """One answer by one of NAMES."""
    if metric in ("tokens", "cost"):
        spent = answer and (answer.tokens if metric == "tokens" else answer.dollars)
        return None if spent is None else -float(spent)
    reference = gold.label if metric == "accuracy" else gold.response
    if answer is None or reference is None:
        return None
    if metric == "accuracy":
        return float(answer.label == reference)
    return {"rouge_l": rouge_l, "chrf": chrf}[metric](reference, answer.response or "")


def rouge_l(reference: str, answer: str) -> float:
    """rouge-score's rougeL F-measure, without a stemmer."""
    return _rouge().score(reference, answer)["rougeL"].fmeasure


@functools.cache
def _rouge() -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def chrf(reference: str, answer: str) -> float:
    """sacrebleu's sentence chrF (chrF2, character 6-grams) over 100, so that margins are in [0, 1]."""
    from sacrebleu.metrics import CHRF

    return CHRF().sentence_score(answer, [reference]).score / 100


def summarise(task: str, items: Sequence[Item], rows: Sequence[dict]) -> dict[str, dict[str, float | None]]:
    """Each metric's value of both models over the pairs that are whole, to 6 digits; None where there is no pair."""
    found: dict[str, dict[str, float | None]] = {}
    for metric in names(task, items):
        pairs = [row for row in rows if row["metric"] == metric and row["champion"] is not None and row["candidate"] is not None]
        means = {side: sum(row[side] for row in pairs) / max(len(pairs), 1) for side in ("champion", "candidate")}
        found[metric] = {side: round(mean, 6) if pairs else None for side, mean in means.items()}
    if "label" in task:
        whole = [item for item in items if item.gold.label is not None and item.champion is not None and item.candidate is not None]
        gold = [item.gold.label for item in whole]
        sides = {"champion": [item.champion.label for item in whole], "candidate": [item.candidate.label for item in whole]}
        found["macro_f1"] = {side: round(macro_f1(gold, answers), 6) if whole else None for side, answers in sides.items()}
    return found
