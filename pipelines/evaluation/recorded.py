"""Judges held against people from two files: `python -m pipelines calibrate --verdicts FILE --labels FILE --json`.

Both files are CSV with a header or JSON lines; other columns than these are left alone.

- Verdicts: `item`, `judge`, `order` (may be absent), and `winner` (pairwise) or `score` or `grade` (pointwise).
- Labels: `item`, one of `winner`, `label`, `grade`, `score`, and if known `group` (items that are alike), and for the
  length `output_1` and `output_2`, or `answer`, or `length` (pairwise: output 1 minus output 2).

A winner names the output, **whatever the order it was shown in**: 1 or 2, A or B, output_1, "Output (a)", or tie, draw.
Empty, null or absent is unscored. An order is 12/21, AB/BA, original/swapped, normal/reversed, first/second, false/true
(swapped or not), or the numbers 0/1 or 1/2, told apart by the values in the file. Scores are whole numbers.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.evaluation import vocabulary
from pipelines.evaluation.agreement import Verdict, correction, decide, measure
from pipelines.evaluation.panel import median_grade, merge
from pipelines.evaluation.vocabulary import PARSE, UNSCORED, fold
from pipelines.foundation import tabular
from pipelines.sections import Admission, Judge

SAID = ("winner", "score", "grade")
LABEL = {"pairwise": ("winner", "label", "grade", "score"), "pointwise": ("grade", "score", "label", "winner")}
TEXTS = ("output_1", "output_2", "answer", "length")
PLAIN = ("accuracy", "kappa", "tpr", "tnr", "order_consistency", "first_position_share", "unscored_share")
LENGTHS = ("length_correlation", "label_length_correlation")


class _Said(NamedTuple):
    line: int
    item: str
    judge: str
    order: str  # as in the file, folded
    verdict: str | None


class _Label(NamedTuple):
    line: int
    gold: str
    group: str
    length: float | None


def calibrate_recorded(verdicts_path: str, labels_path: str, rules: Admission) -> Iterator[dict]:
    """Figures and admission, a dict a judge in the order of first appearance; raises UserError before the first of them.

    Figures are those of `agreement.measure` as plain numbers, their one-sided 95 % bounds under `intervals`, and
    `correction`. A judge is measured on the items it judged. For scores `pass_from` is the middle of the labels' scale.
    Recorded verdicts come without probes, which `why` says.
    """
    kind, said = _read_verdicts(verdicts_path)
    labels = _read_labels(labels_path, kind)
    orders = vocabulary.orders(verdicts_path, ((row.order, row.line) for row in said))
    judge = _scale(labels, kind)
    by_judge: dict[str, list[Verdict]] = {}
    first: dict[tuple[str, str, str], int] = {}
    for line, item, name, order, verdict in said:
        if item not in labels:
            raise UserError(f"{verdicts_path}, line {line}, column item: {item!r} has no label in {labels_path}")
        if first.setdefault((name, item, orders[order]), line) != line:
            shown = f" in the order {order}" if order else ""
            raise UserError(
                f"{verdicts_path}, line {line}, column item: judge {name!r} judged {item!r}{shown} "
                f"already on line {first[name, item, orders[order]]}"
            )
        label = labels[item]
        by_judge.setdefault(name, []).append(Verdict(item, label.group, orders[order], verdict, label.gold, label.length))
    for name, verdicts in by_judge.items():
        yield {"judge": name} | _report(verdicts, judge, rules)


def _report(verdicts: list[Verdict], judge: Judge, rules: Admission) -> dict:
    figures = measure(verdicts, judge)
    decided = decide(figures, None, rules)
    bounded = {name: figures[name] for name in (*PLAIN, *LENGTHS)} | {"correction": correction(_merged(verdicts, judge), judge)}
    return (
        {key: figures[key] for key in ("kind", "n", "judgements", "unscored")}
        | {name: figure["value"] for name, figure in bounded.items()}
        | ({"pass_from": judge.pass_from} if judge.kind == "pointwise" else {})
        | {"admitted": decided.admitted, "why": decided.why}
        | {"intervals": {name: [figure["low"], figure["high"]] for name, figure in bounded.items()}}
    )


def _merged(verdicts: list[Verdict], judge: Judge) -> list[Verdict]:
    """One verdict an item: of both orders where there are two."""
    rows: dict[str, list[Verdict]] = {}
    for row in verdicts:
        rows.setdefault(row.item, []).append(row)
    found = []
    for both in rows.values():
        said = [row.verdict for row in both]
        verdict = median_grade(said) if judge.kind == "pointwise" else merge(said[0], said[-1])
        found.append(both[0]._replace(order="", verdict=verdict))
    return found


def _read_verdicts(path: str) -> tuple[str, list[_Said]]:
    """The kind and the rows."""
    rows = list(tabular.rows(path, ("item", "judge"), ("order", *SAID)))
    if not rows:
        raise UserError(f"{path} holds no verdicts: it needs a row a judgement with the columns item, order, judge, winner (or score)")
    column = _column(path, rows, SAID)
    kind = "pairwise" if column == "winner" else "pointwise"
    found = []
    for line, row in rows:
        item, judge = (tabular.name(path, line, key, row[key]) for key in ("item", "judge"))
        if column not in row and (others := [name for name in SAID if fold(row.get(name)) not in UNSCORED]):
            raise UserError(
                f"{path}, line {line}, column {others[0]}: the verdicts of this file are in the column {column}; keep kinds apart"
            )
        found.append(_Said(line, item, judge, fold(row.get("order")), PARSE[kind](path, line, column, row.get(column))))
    return kind, found


def _read_labels(path: str, kind: str) -> dict[str, _Label]:
    """The label of each item."""
    rows = list(tabular.rows(path, ("item",), ("group", *LABEL[kind], *TEXTS)))
    if not rows:
        raise UserError(f"{path} holds no labels: it needs a row an item with the columns item and winner, label, grade or score")
    column = _column(path, rows, LABEL[kind])
    found: dict[str, _Label] = {}
    for line, row in rows:
        item = tabular.name(path, line, "item", row["item"])
        gold = PARSE[kind](path, line, column, row.get(column))
        if gold is None:
            raise UserError(f"{path}, line {line}, column {column}: {item!r} has no label here; leave the row out")
        group = row.get("group")
        group = item if group is None or group == "" else tabular.name(path, line, "group", group)
        label = _Label(line, gold, group, vocabulary.length(path, line, row, kind))
        before = found.setdefault(item, label)
        if (before.gold, before.group) != (label.gold, label.group):
            key = column if before.gold != label.gold else "group"
            raise UserError(f"{path}, line {line}, column {key}: {item!r} is labelled otherwise on line {before.line}")
    return found


def _column(path: str, rows: list[tabular.Row], names: tuple[str, ...]) -> str:
    """The first of the columns that holds anything, or else that is there."""
    there = {name for row in rows for name in row.values}
    full = {name for row in rows for name, value in row.values.items() if fold(value) not in UNSCORED}
    for name in (*(name for name in names if name in full), *(name for name in names if name in there)):
        return name
    raise UserError(f"{path}, line {rows[0].line}: none of the columns {', '.join(names)} is there")


def _scale(labels: dict[str, _Label], kind: str) -> Judge:
    """What `measure` needs to know of the judge."""
    if kind == "pairwise":
        return Judge()
    grades = {int(label.gold) for label in labels.values()}
    least, most = min(grades), max(grades)
    least -= least == most
    return Judge(kind="pointwise", grades=(least, most), pass_from=math.ceil((least + most) / 2))
