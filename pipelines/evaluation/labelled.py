"""People's verdicts of a judge's kind: JSONL in the use case's folder, read strictly, every bad row named with file, line and column.

Pairwise: `{"item": "1", "prompt": "...", "reference": "...", "output_1": "...", "output_2": "...", "winner": "1"}` with
winner 1, 2 or tie. Pointwise: `answer` and `grade` instead. `reference` and `group` may be absent; a group is a unit
that is counted once in the uncertainty (a conversation), by default the item itself. Other keys are ignored.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.evaluation.wording import Question
from pipelines.foundation.chat import writable
from pipelines.sections import Judge, UseCase

SHOWN = 5  # mistakes told at once
WINNERS = ("1", "2", "tie")


class Item(NamedTuple):
    """One row: the question, and what people say, in the form of a judge's verdict."""

    question: Question
    gold: str


class Labelled(NamedTuple):
    """A judge's file; no items where the judge names none."""

    items: list[Item]
    sha256: str  # of the file; empty where there is none


def read(usecase: UseCase, judge: Judge) -> Labelled:
    """Read and check the file that the judge names; raises UserError with every mistake's line and column (the first few)."""
    if not judge.labelled:
        return Labelled([], "")
    path = Path(usecase.folder, judge.labelled)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(
            f"{path}, the labelled rows of a judge in {usecase.folder}/usecase.yaml, cannot be read: {error.strerror}"
        ) from None
    mistakes: list[str] = []
    items: list[Item] = []
    lines: dict[object, int] = {}
    for line, raw in enumerate(text.split("\n"), start=1):
        if raw.strip():
            found = _item(raw, judge)
            mistakes += [f"{path}, line {line}{wrong}" for wrong in found if isinstance(wrong, str)]
            for item in (item for item in found if isinstance(item, Item)):
                mistakes += [f"{path}, line {line}{wrong}" for wrong in _repeated(item, line, lines)]
                items.append(item)
    if mistakes:
        more = [f"and {len(mistakes) - SHOWN} more"] if len(mistakes) > SHOWN else []
        raise UserError("\n".join(mistakes[:SHOWN] + more))
    if not items:
        raise UserError(f"{path} holds no rows: a judge is calibrated on rows that people judged")
    return Labelled(items, hashlib.sha256(content).hexdigest())


def by_hash(items: Sequence[Item]) -> list[Item]:
    """The items in an order that has nothing to do with the file's, and that stays when rows are added."""
    return sorted(items, key=lambda item: hashlib.sha256(item.question.item.encode()).digest())


def _item(raw: str, judge: Judge) -> list[Item | str]:
    """One item, or what is wrong with the row."""
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return [f": not a JSON object ({str(error)[:80]})"]
    if not isinstance(row, dict):
        return [f": not a JSON object but {type(row).__name__}"]
    pairwise = judge.kind == "pairwise"
    outputs, label = (("output_1", "output_2"), "winner") if pairwise else (("answer",), "grade")
    wrong: list[Item | str] = []
    texts = {}
    for column in ("item", "prompt", *outputs, label):
        value = row.get(column)
        texts[column] = writable(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if not texts[column].strip():
            wrong.append(f", column {column}: " + ("is missing or empty" if value in (None, "") else f"{value!r:.60} is no text"))
    optional = {column: row.get(column) or "" for column in ("reference", "group")}
    wrong += [f", column {column}: {value!r:.60} is no text" for column, value in optional.items() if not isinstance(value, (str, int))]
    if wrong:
        return wrong
    gold, allowed = (
        texts[label].strip(),
        WINNERS if pairwise else tuple(str(grade) for grade in range(judge.grades[0], judge.grades[1] + 1)),
    )
    if gold not in allowed:
        return [f", column {label}: {gold[:60]!r} is not one of {', '.join(allowed)}"]
    if pairwise and texts["output_1"].strip() == texts["output_2"].strip():
        return [", column output_2: the same text as output_1: there is nothing to compare"]
    two = texts["output_2"] if pairwise else None
    item, reference, group = texts["item"].strip(), writable(str(optional["reference"])), writable(str(optional["group"]))
    return [Item(Question(item, group or item, texts["prompt"], reference, texts[outputs[0]], two), gold)]


def _repeated(item: Item, line: int, lines: dict[object, int]) -> list[str]:
    """What of an item was there before: its name, or its texts in either order; notes the line of what is new."""
    question = item.question
    texts = question.prompt, question.reference, frozenset((question.one, question.two))
    wrong = []
    if lines.setdefault(question.item, line) != line:
        wrong.append(f", column item: {question.item[:60]!r} was already on line {lines[question.item]}")
    if lines.setdefault(texts, line) != line:
        wrong.append(f", column prompt: the same texts as on line {lines[texts]}, which would count twice")
    return wrong
