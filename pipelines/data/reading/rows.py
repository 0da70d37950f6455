"""What reading a file gives: sound rows, and refusals with a reason; the checks that every cell must pass.

Reasons given here: too_long, nul_character, undecodable (half a surrogate pair, which no encoding can store).
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

RAW = 10_000  # characters of a refused row that are kept


class FileRefused(Exception):
    """A file that cannot be read at all: one quarantined row, line 0."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Row(NamedTuple):
    """A row whose structure is sound."""

    line: int  # its first line in the file, from 1; Parquet, a JSON array: number of the row
    columns: dict[str, Any]
    raw: str


class Refusal(NamedTuple):
    """A row, or with line 0 a file, that is not accepted."""

    line: int
    reason: str  # one of a small set of snake_case words
    detail: str
    raw: str  # cut at 10,000 characters


def refuse(line: int, reason: str, detail: str, raw: str) -> Refusal:
    """A refusal whose raw text can be stored: cut, and without undecodable bytes."""
    return Refusal(line, reason, detail[:1000].encode("utf-8", "replace").decode(), raw[:RAW].encode("utf-8", "replace").decode())


def distinct(header: Iterable[str]) -> list[str]:
    """Column names without gaps and repeats: `column_3` for an empty one, `name.2` for a second `name`."""
    names: dict[str, int] = {}  # and how often each was there
    for at, name in enumerate(header, start=1):
        name = own = name or f"column_{at}"
        while own in names:
            names[name] += 1
            own = f"{name}.{names[name]}"
        names[own] = 1
    return list(names)


def checked(rows: Iterator[Row | Refusal], max_bytes: int) -> Iterator[Row | Refusal]:
    """Pass rows on, and refuse those with a cell that cannot be kept."""
    for row in rows:
        if isinstance(row, Row) and not _plain(row.raw, max_bytes) and (found := next(_problems("", row.columns, max_bytes), None)):
            yield refuse(row.line, *found, row.raw)
        else:
            yield row


def _plain(raw: str, max_bytes: int) -> bool:
    """Whether a row is short text without NUL and JSON escapes, as most are, so that its cells need no look."""
    if "\x00" in raw or "\\u" in raw:
        return False
    if raw.isascii():
        return len(raw) <= max_bytes
    try:
        return len(raw.encode()) <= max_bytes
    except UnicodeEncodeError:
        return False


def _problems(name: str, value: object, max_bytes: int) -> Iterator[tuple[str, str]]:
    """(reason, detail) of each cell that cannot be kept, nested ones too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _problems("", key, max_bytes)
            yield from _problems(key, inner, max_bytes)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _problems(name, inner, max_bytes)
    elif isinstance(value, str):
        if "\x00" in value:
            yield "nul_character", f"column {name[:100]!r} holds a NUL character"
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError:
            yield "undecodable", f"column {name[:100]!r} holds bytes that are not UTF-8, or half a surrogate pair"
            return
        if size > max_bytes:
            yield "too_long", f"column {name[:100]!r} has {size:,} bytes, the limit is {max_bytes:,} (max_text_bytes in contract.yaml)"
