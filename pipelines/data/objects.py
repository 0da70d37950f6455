"""JSON lines, a JSON array and Parquet as rows, holding one record or one batch at a time.

Reasons given here: not_json, not_an_object, duplicate_key, too_long, undecodable, file_empty, file_unreadable,
missing_column (Parquet). JSON is read strictly: no NaN, no key twice, nothing after the value.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pipelines.data.encodings import Encoding, lines, undecodable
from pipelines.data.rows import FileRefused, Refusal, Row, refuse

CHUNK = 1 << 16  # characters
BATCH = 1000  # rows


class _DuplicateKey(ValueError):
    pass


def read_lines(path: Path, encoding: Encoding, limit: int) -> Iterator[Row | Refusal]:
    """One JSON object a line; blank lines are no rows."""
    some = False
    for line in lines(path, encoding, limit):
        text = line.text.strip()
        if not text:
            continue
        some = True
        if line.cut:
            yield refuse(line.number, "too_long", "the line is longer than a record may be", text)
        elif why := undecodable(line):
            yield refuse(line.number, "undecodable", why, text)
        else:
            yield _row(line.number, text)
    if not some:
        yield refuse(0, "file_empty", "the file holds no row", "")


def read_array(path: Path, encoding: Encoding, limit: int) -> Iterator[Row | Refusal]:
    """The elements of one JSON array. Where it breaks, the rest is one refusal: what follows cannot be told apart."""
    with path.open(encoding=encoding.codec, errors="surrogateescape" if encoding.broken else "strict") as stream:
        window = _Window(stream)
        window.peek()
        window.drop(1)  # the opening bracket
        mark = window.peek()
        while mark != "]":
            line, text = window.line, window.value(limit)
            if text:
                yield _row(line, text)
            mark = window.peek()
            if not text or mark not in (",", "]"):
                yield refuse(window.line, "not_json", "the array is broken here; nothing from this place on can be read", window.text)
                return
            if mark == ",":
                window.drop(1)
                window.peek()
        window.drop(1)
        if window.peek():
            yield refuse(window.line, "not_json", "there is something after the end of the array", window.text)


class _Window:
    """A moving window on a text stream that counts lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.line, self.ended = stream, "", 1, False
        self.decoder = json.JSONDecoder()

    def grow(self) -> None:
        """Read on; the window doubles, so that a long element is tried a few times only."""
        more = self.stream.read(max(CHUNK, len(self.text)))
        self.text, self.ended = self.text + more, not more

    def drop(self, count: int) -> None:
        """Move past `count` characters."""
        self.line += self.text.count("\n", 0, count)
        self.text = self.text[count:]

    def peek(self) -> str:
        """The next character that is no white space, which the window then starts with; empty at the end."""
        while True:
            self.drop(len(self.text) - len(self.text.lstrip()))
            if self.text or self.ended:
                return self.text[:1]
            self.grow()

    def value(self, limit: int) -> str:
        """The text of the JSON value that the window starts with, moved past; empty where there is none within `limit`."""
        while True:
            try:
                end = self.decoder.raw_decode(self.text)[1]
            except (ValueError, RecursionError):
                end = -1
            if end > 0 and (end < len(self.text) or self.ended):  # a number at the window's end may go on
                found = self.text[:end]
                self.drop(end)
                return found
            if self.ended or len(self.text) > limit:
                return ""
            self.grow()


def read_parquet(path: Path, needed: Sequence[str]) -> Iterator[Row | Refusal]:
    """The rows of a Parquet file; raises FileRefused before the first row where it cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise FileRefused("file_unreadable", f"the Parquet file is damaged: {error}") from None
    if missing := [name for name in needed if name not in names]:
        file.close()
        found = ", ".join(map(repr, names[:40]))
        raise FileRefused("missing_column", f"there is no column {', '.join(map(repr, missing))}; the columns found are {found}")
    return _parquet_rows(file)


def _parquet_rows(file: object) -> Iterator[Row | Refusal]:
    import pyarrow as pa

    number = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=BATCH):
                for columns in batch.to_pylist():
                    number += 1
                    yield Row(number, columns, json.dumps(columns, default=str, ensure_ascii=False))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            yield refuse(number + 1, "file_unreadable", f"nothing from this row on can be read: {error}", "")


def _row(line: int, text: str) -> Row | Refusal:
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except _DuplicateKey as error:
        return refuse(line, "duplicate_key", str(error), text)
    except RecursionError:
        return refuse(line, "not_json", "nested too deeply", text)
    except ValueError as error:
        return refuse(line, "not_json", str(error), text)
    if not isinstance(value, dict):
        return refuse(line, "not_an_object", f"a row must be a JSON object, not {type(value).__name__}", text)
    return Row(line, value, text)


def _pairs(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKey(f"the key {next(name for name in names if names.count(name) > 1)[:100]!r} is there twice")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
