"""What is asked for tonight: how many rows by each method, and from which parents.

Parents are train rows; for back_paraphrase they are what a model wrote of one, up to `synthesis.max_depth`. Every choice is
drawn with a seed of the night.
"""

import random
from collections import Counter
from typing import NamedTuple

from pipelines.data.synthesis.personas import Persona
from pipelines.sections import Synthesis

SHOTS = 3
REWRITTEN = ("paraphrase", "gap_fill", "persona", "back_paraphrase")  # what back_paraphrase may say again


class Draft(NamedTuple):
    """What was asked for: a message like `parent`, shown with `sources` (the parent among them)."""

    parent: dict
    sources: list[dict]
    method: str
    other: str = ""  # hard_negative: the label that the message shall come close to
    near: tuple[dict, ...] = ()  # hard_negative: rows of that label
    persona: Persona | None = None


class Stock(NamedTuple):
    """What there is to make rows from."""

    train: list[dict]  # real
    test: list[dict]
    made: list[dict]  # synthetic, this night's own among them
    confused: dict[str, list[str]]  # label to those that it is taken for, the most frequent first; for hard_negative alone
    personas: tuple[Persona, ...]


def quotas(settings: Synthesis, wanted: int, missing: int) -> dict[str, int]:
    """Rows by method that add up to `wanted`; `missing` are those that rare labels lack."""
    if not settings.methods:
        return {"gap_fill": min(wanted, missing), "paraphrase": wanted - min(wanted, missing)}
    total = sum(settings.methods.values())
    exact = {method: wanted * weight / total for method, weight in settings.methods.items()}
    found = {method: int(share) for method, share in exact.items()}
    for method in sorted(exact, key=lambda method: (found[method] - exact[method], method))[: wanted - sum(found.values())]:
        found[method] += 1
    spare = max(found.get("gap_fill", 0) - missing, 0)
    if spare and "paraphrase" in found:
        found |= {"gap_fill": found["gap_fill"] - spare, "paraphrase": found["paraphrase"] + spare}
    return found


def lacking(settings: Synthesis, stock: Stock) -> dict[str, int]:
    """Rows that each label with few rows lacks, the rarest label first."""
    have = Counter(row["label"] for row in stock.train) + Counter(row["label"] for row in stock.made)
    labels = {row["label"] for row in stock.train if alone(row) and row["label"] is not None}
    rare = sorted(labels, key=lambda label: (have[label], label))
    return {label: settings.rare_below - have[label] for label in rare if have[label] < settings.rare_below}


def plan(settings: Synthesis, stock: Stock, method: str, draw: random.Random, count: int, shots: int) -> list[Draft]:
    """Up to `count` drafts of a method; none where it has no parents."""
    parents = [row for row in stock.train if alone(row)]
    if method == "back_paraphrase":
        parents = [row for row in stock.made if row["method"] in REWRITTEN and depth(row) < settings.max_depth]
    if method == "gap_fill":
        return _gaps(lacking(settings, stock), parents, draw, count, shots)
    if method == "hard_negative":
        return [_hard(stock, row, draw) for row in _rounds([row for row in parents if stock.confused.get(row["label"])], draw, count)]
    chosen = _rounds(parents, draw, count)
    if method == "persona":
        return [Draft(row, [row], method, persona=draw.choice(stock.personas)) for row in chosen]
    return [Draft(row, [row], method) for row in chosen]


def alone(row: dict) -> bool:
    """A message without the turns before it: only such a one can be said again by itself."""
    return not ("\nCustomer: " in row["prompt"] and row["prompt"].startswith("Customer: "))


def depth(row: dict) -> int:
    """Generations from a real row, which is 0 itself; a row of before they were counted is the child of a real one."""
    return (row.get("depth") or 1) if row["source"] == "synthetic" else 0


def _rounds(parents: list[dict], draw: random.Random, count: int) -> list[dict]:
    """`count` parents, each once before one comes again."""
    chosen: list[dict] = []
    while parents and len(chosen) < count:
        chosen += draw.sample(parents, min(count - len(chosen), len(parents)))
    return chosen


def _gaps(missing: dict[str, int], parents: list[dict], draw: random.Random, count: int, shots: int) -> list[Draft]:
    """Rare labels in turn, the rarest first, until they would be filled; a label's rows are parents in turn."""
    by_label: dict[str, list[dict]] = {}
    for row in draw.sample(parents, len(parents)):
        by_label.setdefault(row["label"], []).append(row)
    drafts: list[Draft] = []
    while len(drafts) < count and any(missing.values()):
        for label in [label for label in missing if missing[label]][: count - len(drafts)]:
            missing[label] -= 1
            by_label[label].append(by_label[label].pop(0))  # each row is the parent once before one is it again
            shown = [*draw.sample(by_label[label][:-1], min(shots - 1, len(by_label[label]) - 1)), by_label[label][-1]]
            drafts.append(Draft(shown[-1], shown, "gap_fill"))
    return drafts


def _hard(stock: Stock, parent: dict, draw: random.Random) -> Draft:
    """A draft between the parent's label and one that it is taken for; of those, the most frequent one in half of the drafts."""
    others = stock.confused[parent["label"]]
    other = others[0] if draw.random() < 0.5 else draw.choice(others)
    rows = [row for row in stock.train if row["label"] == other and alone(row)]
    near = tuple(draw.sample(rows, min(SHOTS, len(rows))))
    return Draft(parent, [parent, *near], "hard_negative", other, near)
