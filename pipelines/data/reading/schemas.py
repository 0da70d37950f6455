"""The columns of a file as its first rows show them, and what changed since the last file of the same source and format.

A column has a kind (text, number, true/false, time, list, object, bytes, mixed, empty) and a shape: the share of nulls,
the mean length, how much of it is distinct, how many spaces are in it. No value is kept. A column that went and one that
came are one that was renamed where kind and shape look alike.
"""

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pipelines.data.reading.rows import Refusal, Row

ROWS = 1000  # of a file that are looked at
CHARACTERS = 8 << 20  # of theirs
MOST = 500  # columns of a file, and changes of a night, that are told
CLEAR = 0.8  # share of the values that have the kind of the column
SPARSE = 0.5  # share of nulls above which a key that JSON objects have or have not is no column
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?$")
PLAIN = re.compile(r"[^\W\d][\w .:/()-]{0,59}$")
Columns = dict[str, dict]


class Column(NamedTuple):
    """What is known of one column."""

    kind: str
    nulls: float  # share of the rows
    length: float  # characters, the mean
    distinct: float  # share of the values
    spaces: float  # a value, the mean


def peek(rows: Iterator[Row | Refusal]) -> tuple[list[Row | Refusal], Iterator[Row | Refusal]]:
    """(the first rows, all rows)."""
    first, size = [], 0
    for row in rows:
        first.append(row)
        size += len(row.raw)
        if len(first) >= ROWS or size > CHARACTERS:
            break
    return first, itertools.chain(first, rows)


def describe(rows: Iterable[Row | Refusal], form: str) -> Columns:
    """Columns by name, as JSON can hold them; `form` is the file's: csv, whose numbers are text, json or parquet."""
    good = [row.columns for row in rows if isinstance(row, Row)]
    names = list(dict.fromkeys(itertools.chain.from_iterable(good)))[:MOST]
    found = {shown(name, at): _column([columns.get(name) for columns in good], form) for at, name in enumerate(names, start=1)}
    return {name: column._asdict() for name, column in found.items() if form != "json" or column.nulls <= SPARSE}


def form(dialect: Mapping[str, object]) -> str:
    """Which of csv, json and parquet a file is."""
    return str(dialect.get("format", "csv")).split(" ")[0]


def shown(name: str, at: int) -> str:
    """A column's name; its place where the name looks like a value, as in a file without a header."""
    return name if PLAIN.match(name) and name.count(" ") < 5 else f"column {at}"


def compare(source: str, was: Columns, now: Columns) -> list[dict[str, str]]:
    """Changes: source, change (new, missing, renamed, retyped), column, was, is."""
    gone, come = [name for name in was if name not in now], [name for name in now if name not in was]
    pairs = renamed(was, now)
    found = [_change(source, "renamed", new, old, new) for old, new in pairs.items()]
    found += [_change(source, "missing", name, was[name]["kind"], "") for name in gone if name not in pairs]
    found += [_change(source, "new", name, "", now[name]["kind"]) for name in come if name not in pairs.values()]
    for name in (name for name in was if name in now):
        kinds = was[name]["kind"], now[name]["kind"]
        if kinds[0] != kinds[1] and "empty" not in kinds:
            found.append(_change(source, "retyped", name, *kinds))
    return found


def renamed(was: Columns, now: Columns) -> dict[str, str]:
    """Old name to new name of the columns that look alike, the likest pairs first."""
    gone, come = [name for name in was if name not in now], [name for name in now if name not in was]
    pairs = [(_unlike(old, was[old], new, now[new]), old, new) for old in gone for new in come if was[old]["kind"] == now[new]["kind"]]
    found: dict[str, str] = {}
    for distance, old, new in sorted(pairs):
        if distance < 1 and old not in found and new not in found.values():
            found[old] = new
    return found


def alike(wanted: Iterable[str], now: Columns) -> dict[str, str]:
    """Wanted name to the name that resembles it, where no earlier file tells more."""
    found = {
        name: difflib.get_close_matches(name, [other for other in now if other not in wanted], 1) for name in wanted if name not in now
    }
    return {name: near[0] for name, near in found.items() if near}


def _unlike(old: str, was: dict, new: str, now: dict) -> float:
    """0 for the same shape and name; from 1 on two columns are not alike."""
    longer, shorter = max(was["length"], now["length"]), min(was["length"], now["length"])
    parts = [math.log((longer + 1) / (shorter + 1), 2), abs(was["nulls"] - now["nulls"]) * 3, abs(was["distinct"] - now["distinct"]) * 2]
    parts.append(math.log((max(was["spaces"], now["spaces"]) + 1) / (min(was["spaces"], now["spaces"]) + 1), 2))
    return max(parts) + 0.3 * (1 - difflib.SequenceMatcher(None, old.lower(), new.lower()).ratio())


def _change(source: str, change: str, column: str, was: str, now: str) -> dict[str, str]:
    return {"source": source, "change": change, "column": column, "was": was, "is": now}


def _column(values: list[object], form: str) -> Column:
    kinds = [_kind(value, form) for value in values]
    held = [value for value, kind in zip(values, kinds, strict=True) if kind]
    if not held:
        return Column("empty", 1.0, 0.0, 0.0, 0.0)
    kind, most = Counter(filter(None, kinds)).most_common(1)[0]
    texts = [str(value) for value in held]
    lengths, spaces = sum(map(len, texts)), sum(text.count(" ") for text in texts)
    shape = (1 - len(held) / len(values), lengths / len(held), len(set(texts)) / len(held), spaces / len(held))
    return Column(kind if most >= CLEAR * len(held) else "mixed", *(round(part, 3) for part in shape))


def _kind(value: object, form: str) -> str:
    """The kind of one value, empty for a null."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        if TIME.match(value):
            return "time"
        if form == "csv" and NUMBER.match(value.strip()):
            return "number"
        return "true/false" if form == "csv" and value.lower() in ("true", "false") else "text"
    for kinds, name in ((bool, "true/false"), (int | float, "number"), (dict, "object"), (list | tuple, "list"), (bytes, "bytes")):
        if isinstance(value, kinds):
            return name
    return {"datetime": "time", "date": "time", "Timestamp": "time", "Decimal": "number"}.get(type(value).__name__, type(value).__name__)
