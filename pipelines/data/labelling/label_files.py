"""Queues of labels as people's tools read and write them: CSV for a spreadsheet, JSON for Label Studio.

A cell that a spreadsheet would run as a formula gets an apostrophe in front, and loses it when it is read back (OWASP, "CSV
Injection"). Label Studio: tasks with `data` and `predictions` go out; its export in JSON or JSON-MIN comes in.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from pipelines.errors import UserError

FORMULA = re.compile(r"'*[=+\-@\t\r]")
YES, NO = frozenset({"yes", "y", "true", "1", "x"}), frozenset({"no", "n", "false", "0"})
COLUMNS = ("example_id", "night", "source", "text", "was", "proposed", "score", "why", "accept", "label")
LONGEST = 1_000_000  # letters of a cell that is read


class Entry(NamedTuple):
    """A row that a person is asked about."""

    example_id: str
    night: str
    source: str  # suggest | error
    text: str
    was: str  # empty: it has no label
    proposed: str
    score: float
    why: str


class Read(NamedTuple):
    """What a person wrote about a row."""

    place: str  # in the file, for a message
    example_id: str
    label: str | None  # None: no answer yet
    was: str | None  # None: the file does not say
    source: str
    problem: str  # why this is no answer, empty where it is one


def write(path: Path, entries: Sequence[Entry], labels: Sequence[str]) -> None:
    """Write the queue, CSV or JSON by the suffix, whole or not at all; raises UserError for another suffix or a bad place."""
    kinds = {".csv": _to_csv, ".json": _to_tasks}
    if path.suffix not in kinds:
        raise UserError(f"--out {path}: end it in .csv for a spreadsheet or in .json for Label Studio")
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", newline="") as file:
            kinds[path.suffix](file, entries, labels)
        os.replace(draft, path)
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error.strerror}") from None


def read(path: Path) -> list[Read]:
    """The answers in a file; raises UserError where it cannot be read or is of no known form."""
    kinds = {".csv": _from_csv, ".json": _from_tasks}
    if path.suffix not in kinds:
        raise UserError(f"--file {path}: name the CSV that was filled in, or Label Studio's export as .json")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"--file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"--file {path} is not UTF-8: save it as `CSV UTF-8`") from None
    return list(kinds[path.suffix](path, text))


def _to_csv(file: TextIO, entries: Sequence[Entry], _: Sequence[str]) -> None:
    out = csv.writer(file)
    out.writerow(COLUMNS)
    for entry in entries:
        out.writerow([guard(str(getattr(entry, name, ""))) for name in COLUMNS])


def _to_tasks(file: TextIO, entries: Sequence[Entry], labels: Sequence[str]) -> None:
    tasks = []
    for entry in entries:
        choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [entry.proposed]}}
        task: dict = {"data": entry._asdict() | {"labels": [{"value": name} for name in labels]}}
        if entry.proposed:
            task["predictions"] = [{"model_version": entry.source, "score": entry.score, "result": [choice]}]
        tasks.append(task)
    json.dump(tasks, file, ensure_ascii=False, indent=1)


def _from_csv(path: Path, text: str) -> Iterator[Read]:
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    first = text.partition("\n")[0]
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    if lines.fieldnames is None or not {"example_id", "label"} <= set(lines.fieldnames):
        raise UserError(f"--file {path}: the first line must name the columns example_id and label, as `label suggest --out` writes them")
    try:
        for row in lines:
            cells = {name: unguard((value or "").strip()) for name, value in row.items() if name and not isinstance(value, list)}
            place = f"line {lines.line_num}"
            if not any(cells.values()):
                continue
            yield _judge(place, cells)
    except csv.Error as error:
        raise UserError(f"--file {path}, line {lines.line_num}: {error}") from None


def _judge(place: str, cells: dict[str, str]) -> Read:
    """The answer of a line: the label that was written, or the proposed one where `accept` says yes, or the old one where it says no."""
    label, accept = cells.get("label", ""), cells.get("accept", "").casefold()
    known = {"": "", **dict.fromkeys(YES, cells.get("proposed", "")), **dict.fromkeys(NO, cells.get("was", ""))}
    problem = "" if cells.get("example_id") else "no_id"
    if accept not in known:
        problem = problem or "accept_not_yes_or_no"
    elif accept and not known[accept]:
        problem = problem or "nothing_to_accept"
    elif accept in YES and label and label != known[accept]:
        problem = problem or "accept_and_another_label"
    found = label or known.get(accept) or None
    return Read(place, cells.get("example_id", ""), found, cells.get("was"), cells.get("source") or "suggest", problem)


def _from_tasks(path: Path, text: str) -> Iterator[Read]:
    try:
        tasks = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--file {path}, line {error.lineno}: no JSON: {error.msg}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"--file {path}: Label Studio's export is a list of tasks; export as JSON or JSON-MIN")
    for number, task in enumerate(tasks, 1):
        data = task["data"] if isinstance(task.get("data"), dict) else task
        name, was, source = (str(data.get(key) or "") for key in ("example_id", "was", "source"))
        chosen = _chosen(task)
        labels, problem = set(chosen), "" if name else "no_id"
        if len(labels) > 1:
            problem = problem or "conflicting_answers"
        label = labels.pop() if len(labels) == 1 else None
        yield Read(f"task {number}", name, label, was if "was" in data else None, source or "suggest", problem)


def _chosen(task: dict) -> list[str]:
    """The choices of all annotators who did not skip the task; JSON-MIN has one under `label`."""
    found: list[str] = []
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        single = task.get("label") if "data" not in task else None
        choices = single.get("choices") if isinstance(single, dict) else single
        return [str(choice) for choice in (choices if isinstance(choices, list) else [choices] if choices else [])]
    for annotation in annotations:
        results = annotation.get("result") if isinstance(annotation, dict) and not annotation.get("was_cancelled") else None
        for result in results if isinstance(results, list) else ():
            value = result.get("value") if isinstance(result, dict) else None
            choices = value.get("choices") if isinstance(value, dict) else None
            found += [str(choice) for choice in choices] if isinstance(choices, list) else []
    return found


def guard(cell: str) -> str:
    """A cell that no spreadsheet runs."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """What `guard` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
