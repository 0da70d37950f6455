"""Reads a file of paired scores, CSV or JSONL, with the columns item, group, champion, candidate (and draw, for many nights).

An empty cell or null is a missing answer, which is counted and never taken for zero. Everything else that is not a
finite number is a UserError with the file, the line and the column.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from pipelines.errors import UserError

COLUMNS = ("item", "group", "champion", "candidate")
LINES = (".jsonl", ".ndjson", ".json")


class Scores(NamedTuple):
    """Columns of equal length, one place a row of the file."""

    groups: list[str]
    champion: list[float | None]
    candidate: list[float | None]
    draws: list[str]  # "" where the file has no such column


class _Row(NamedTuple):
    line: int  # from 1
    values: list[object]  # in the order of the columns


def read_scores(path: str, batch: bool = False) -> Scores:
    """Read and check a file; with `batch`, its column `draw` says which night a row belongs to. Raises UserError."""
    columns = (*COLUMNS, "draw") if batch else COLUMNS
    found = Scores([], [], [], [])
    seen: dict[tuple[str, str], int] = {}
    for line, values in _rows(path, columns):
        item, group = _name(path, line, "item", values[0]), _name(path, line, "group", values[1])
        draw = _name(path, line, "draw", values[4]) if batch else ""
        if (draw, item) in seen:
            raise UserError(f"{path}, line {line}, column item: {item!r} was already on line {seen[draw, item]}; each item is scored once")
        seen[draw, item] = line
        found.groups.append(group)
        found.champion.append(_score(path, line, "champion", values[2]))
        found.candidate.append(_score(path, line, "candidate", values[3]))
        found.draws.append(draw)
    if not seen:
        raise UserError(f"{path} holds no scores: it needs a row an item with the columns {', '.join(columns)}")
    return found


def _rows(path: str, columns: tuple[str, ...]) -> Iterator[_Row]:
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    read: Callable[[str, TextIO, tuple[str, ...]], Iterator[_Row]] = _objects if path.lower().endswith(LINES) else _cells
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from read(path, file, columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _cells(path: str, file: TextIO, columns: tuple[str, ...]) -> Iterator[_Row]:
    reader = csv.reader(file)
    try:
        header = [name.strip() for name in next(reader, [])]
        places = [_place(path, header, column) for column in columns]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has {len(header)} columns")
            yield _Row(reader.line_num, [cells[place] for place in places])
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None


def _place(path: str, header: list[str], column: str) -> int:
    if not header:
        raise UserError(f"{path} is empty: its first line must name the columns {', '.join(COLUMNS)}")
    if header.count(column) != 1:
        wrong = "is missing" if column not in header else "is named twice"
        raise UserError(f"{path}, line 1: the column {column} {wrong}; found: {', '.join(header)}")
    return header.index(column)


def _objects(path: str, file: TextIO, columns: tuple[str, ...]) -> Iterator[_Row]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {line}: not a JSON object ({str(error)[:80]})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {line}: not a JSON object but {type(row).__name__}")
        for column in columns:
            if column not in row:
                raise UserError(f"{path}, line {line}: the column {column} is missing; found: {', '.join(row)}")
        yield _Row(line, [row[column] for column in columns])


def _name(path: str, line: int, column: str, value: object) -> str:
    if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
        return str(value).strip()
    raise UserError(f"{path}, line {line}, column {column}: {value!r} is no name; write a text or a whole number")


def _score(path: str, line: int, column: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = repr(str(value)[:60])
        raise UserError(f"{path}, line {line}, column {column}: {shown} is not a finite number; leave it empty where the answer is missing")
    return number
