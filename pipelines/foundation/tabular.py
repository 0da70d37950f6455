"""Reads rows from a CSV with a header or from JSON lines, by suffix; every mistake is a UserError with file and line."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from pipelines.errors import UserError

LINES = (".jsonl", ".ndjson", ".json")
LONGEST = 131_072  # characters of a cell; csv's own default, which another reader of this process may have raised


class Row(NamedTuple):
    """One row; a CSV cell is a text, a JSON value what it is."""

    line: int  # from 1
    values: dict[str, object]  # by column; of the optional columns those that are there


def rows(path: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[Row]:
    """Rows with the columns that are asked for, all others left out; empty lines are skipped. Raises UserError."""
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    read: Callable[..., Iterator[Row]] = _objects if path.lower().endswith(LINES) else _cells
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from read(path, file, columns, optional)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def name(path: str, line: int, column: str, value: object) -> str:
    """A name: a text that is not blank, or a whole number. Raises UserError."""
    if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
        return str(value).strip()
    raise UserError(f"{path}, line {line}, column {column}: {value!r} is no name; write a text or a whole number")


def _cells(path: str, file: TextIO, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[Row]:
    reader = csv.reader(file)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if not header:
            raise UserError(f"{path} is empty: its first line must name the columns {', '.join(columns)}")
        for column in (*columns, *optional):
            if header.count(column) > 1 or (column in columns and column not in header):
                wrong = "is missing" if column not in header else "is named twice"
                raise UserError(f"{path}, line 1: the column {column} {wrong}; found: {', '.join(header)}")
        places = [(column, header.index(column)) for column in (*columns, *optional) if column in header]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has {len(header)} columns")
            if any(len(cell) > LONGEST for cell in cells):
                raise UserError(f"{path}, line {reader.line_num}: field larger than field limit ({LONGEST})")
            yield Row(reader.line_num, {column: cells[place] for column, place in places})
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None


def _objects(path: str, file: TextIO, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[Row]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {line}: not a JSON object ({str(error)[:80]})") from None
        if not isinstance(found, dict):
            raise UserError(f"{path}, line {line}: not a JSON object but {type(found).__name__}")
        for column in columns:
            if column not in found:
                raise UserError(f"{path}, line {line}: the column {column} is missing; found: {', '.join(found)}")
        yield Row(line, {column: found[column] for column in (*columns, *optional) if column in found})
