"""One file of any of the formats that teams send, as a stream of rows and refusals: CSV, JSON lines, a JSON array or
JSON objects one after the other, Parquet, each also gzipped. What a file is, its content says first and its name second.
Memory stays bounded.

Reasons given here: file_empty, file_unreadable, missing_column, duplicate_column, undecodable (file or row), not_json,
not_an_object, duplicate_key, ragged_row, bad_quoting, unclosed_quote, repeated_header, too_long, nul_character, bad_value.
A zip archive or another binary file is refused whole. Blank lines are no rows; an empty file is one refused file.
"""

import contextlib
import csv
import gzip
import json
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.data.reading import delimited
from pipelines.data.reading.columnar import read_parquet
from pipelines.data.reading.encodings import HEAD, Encoding, Line, detect, lines, opening_codec, undecodable
from pipelines.data.reading.objects import is_stream, read_array, read_lines, read_stream
from pipelines.data.reading.rows import FileRefused, Refusal, Row, checked, distinct, refuse
from pipelines.foundation.scratch import scratch

NAME = 200  # characters of a column's name
RECORD = 1_000_000  # characters that a record may always have, more where max_bytes is larger
BINARY = {
    b"PK\x03\x04": "a zip archive (also .xlsx)",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "gzip within gzip",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
}


class File(NamedTuple):
    """An opened file; a refused one has a single refusal for its rows."""

    encoding: str
    dialect: dict
    rows: Iterator[Row | Refusal]


@contextlib.contextmanager
def opened(path: Path, name: str, needed: Sequence[str], max_bytes: int) -> Iterator[File]:
    """Open one file; `name` is what people call it, `needed` the columns that a table must have.

    A cell of more than `max_bytes` bytes is refused. OSError of the disk itself is left to the caller.
    """
    with scratch() as folder:
        try:
            yield _open(_unzipped(path, folder), name, needed, max_bytes)
        except FileRefused as refused:
            yield File("", {}, iter([refuse(0, refused.reason, refused.detail, "")]))


def _unzipped(path: Path, folder: Path) -> Path:
    """The file itself, or what a gzip file holds; the disk, not the memory, takes it."""
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return path
    target = folder / "content"
    with target.open("wb") as out:
        try:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, out, 1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileRefused("file_unreadable", f"the gzip file is damaged: {error}") from None
    return target


def _open(path: Path, name: str, needed: Sequence[str], max_bytes: int) -> File:
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head:
        raise FileRefused("file_empty", "the file has no bytes")
    if head.startswith(b"PAR1"):
        return File("", {"format": "parquet"}, checked(read_parquet(path, needed), max_bytes))
    _refuse_binary(head)
    opening = head.decode(opening_codec(head) or "latin-1", "replace").lstrip("\ufeff")
    limit = max(RECORD, 4 * max_bytes)
    if _is_json(name, opening):
        encoding = detect(path, legacy=False)
        kind, read = ("json array", read_array) if opening.lstrip().startswith("[") else ("json lines", read_lines)
        if kind == "json lines" and is_stream(opening, whole=len(head) < HEAD):
            kind, read = "json objects", read_stream
        return File(encoding.codec, {"format": kind}, checked(read(path, encoding, limit), max_bytes))
    return _csv(path, detect(path, legacy=True), needed, max_bytes, limit)


def _refuse_binary(head: bytes) -> None:
    for mark, what in BINARY.items():
        if head.startswith(mark):
            raise FileRefused("file_unreadable", f"this is {what}; what can be read is CSV, JSON lines, Parquet, and gzip of these")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise FileRefused("file_unreadable", "this is a web page or XML, perhaps an error page that was saved for the file")
    controls = sum(head.count(byte) for byte in (*range(1, 9), *range(14, 32), 127))
    if opening_codec(head) == "" and (controls > max(3, len(head) * 0.05) or head.count(0) > len(head) * 0.2):
        raise FileRefused("file_unreadable", "this is a binary file of no kind that can be read (CSV, JSON lines, Parquet, gzip of these)")


def _is_json(name: str, opening: str) -> bool:
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in (".jsonl", ".ndjson", ".json"):
        return True
    first = opening.lstrip().splitlines()[:1]
    if not first or first[0][0] not in "{[":
        return False
    try:
        return isinstance(json.loads(first[0]), dict | list)
    except (ValueError, RecursionError):
        return first[0].strip() == "[" or first[0][:2] in ('{"', "[{")


def _csv(path: Path, encoding: Encoding, needed: Sequence[str], max_bytes: int, limit: int) -> File:
    sample, size = [], 0
    for line in lines(path, encoding, limit):
        sample.append(line)
        size += len(line.text)
        if size > delimited.SAMPLE:
            break
    head = delimited.examine(sample, size <= delimited.SAMPLE, needed)
    return File(encoding.codec, head.describe(), checked(_csv_rows(path, encoding, head, limit), max_bytes))


def _csv_rows(path: Path, encoding: Encoding, head: delimited.Head, limit: int) -> Iterator[Row | Refusal]:
    names = distinct(_written(name) for name in head.header)
    named = len(names) > 1 and not all(map(delimited.numeric, head.header))  # else the file has no header, and rows may be equal
    source = lines(path, encoding, limit)
    bad: dict[int, str] = {}
    source = _noting(source, bad) if encoding.broken else source
    csv.field_size_limit(max(limit, csv.field_size_limit()))  # the process has one: it is only raised, for another reader may be at work
    for record in delimited.records(source, head.dialect, limit):
        noted = [bad.pop(line) for line in sorted(bad)] if bad else []
        if record.line <= head.header_line:
            continue
        if noted:
            yield refuse(record.line, "undecodable", noted[0], record.raw)
        elif record.reason:
            yield refuse(record.line, record.reason, record.detail, record.raw)
        elif len(cells := delimited.trimmed(record.cells, len(names))) != len(names):
            yield refuse(record.line, "ragged_row", f"{len(cells)} fields where the header has {len(names)}", record.raw)
        elif named and cells[-1].strip() == head.header[-1] and [cell.strip() for cell in cells] == head.header:
            yield refuse(record.line, "repeated_header", "the row repeats the header", record.raw)
        else:
            yield Row(record.line, dict(zip(names, cells, strict=True)), record.raw)


def _written(name: str) -> str:
    """A column's name as it can be stored with every row: an undecodable byte as \\xff, and not without end."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\x00", "\\x00")[:NAME]


def _noting(source: Iterator[Line], bad: dict[int, str]) -> Iterator[Line]:
    """Pass lines on, and note those with undecodable bytes by number."""
    for line in source:
        if why := undecodable(line):
            bad[line.number] = why
        yield line
