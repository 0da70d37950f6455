"""Every byte under a folder, as it lies there and as a reader of its format sees it: what an erasure is held against."""

import gzip
import html
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from pyarrow import parquet


def mentions(folder: Path, marks: Iterable[str]) -> dict[str, list[str]]:
    """Files (relative paths) that hold a mark, by mark: raw, unpacked, in the columns of Parquet, in the rows of SQLite."""
    wanted = {mark: _forms(mark) for mark in marks}
    found: dict[str, list[str]] = {mark: [] for mark in wanted}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        seen = content + _decoded(path, content)
        for mark, forms in wanted.items():
            if any(form in seen for form in forms):
                found[mark].append(str(path.relative_to(folder)))
    return found


def _forms(mark: str) -> set[bytes]:
    spelt = {mark, json.dumps(mark)[1:-1], html.escape(mark), html.escape(json.dumps(mark)[1:-1])}
    return {form.encode(codec) for form in spelt for codec in ("utf-8", "utf-16-le")}


def _decoded(path: Path, content: bytes) -> bytes:
    if path.suffix == ".parquet":
        return json.dumps(parquet.ParquetFile(path).read().to_pylist(), default=str).encode()
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content)
    if content.startswith(b"SQLite format 3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return "\n".join(database.iterdump()).encode()
    return b""
