"""Take rows out of the files that they were read from: CSV, JSON lines, a JSON array, Parquet, each also gzipped, local or on S3.

In a text file the lines of a row become blank, which no reader takes for a row: every other row keeps its line number and
its bytes (of a legacy encoding its text: the new file is UTF-8). The new file's SHA-256 is what ingest has to know it by.
"""

import bisect
import gzip
import shutil
from collections.abc import Collection
from pathlib import Path

from pipelines.data.reading import buckets
from pipelines.data.reading.disk import disk
from pipelines.data.reading.readers import opened
from pipelines.data.reading.rows import Refusal
from pipelines.data.reading.sources import Found
from pipelines.foundation.scratch import scratch

UNLIMITED = 1 << 40  # bytes of a cell: nothing is refused for its length here
GZIP = b"\x1f\x8b"


def without(path: Path, name: str, lines: Collection[int], target: Path) -> int:
    """Write the file without the rows that begin on these lines to `target`; returns the number of rows taken out.

    Raises ValueError where the file is none that can be written anew (a whole file that was refused).
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
    with scratch() as folder:
        plain, draft = folder / "plain", folder / "draft"
        if packed:
            with gzip.open(path) as source, plain.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        taken = _rewrite(plain if packed else path, name.removesuffix(".gz"), frozenset(lines), draft)
        if packed:
            with draft.open("rb") as source, gzip.GzipFile(target, "wb", mtime=0) as out:
                shutil.copyfileobj(source, out, 1 << 20)
        else:
            shutil.copyfile(draft, target)
    return taken


def put(found: Found, draft: Path) -> None:
    """Exchange a source file for its new one: local files by one rename, an object on S3 with its older versions."""
    if not found.path:
        buckets.store(found.shown, draft)
        return
    target = Path(found.path)
    with disk(target), scratch(".part-", target.parent) as folder:
        shutil.copyfile(draft, folder / target.name)
        shutil.copymode(target, folder / target.name)
        (folder / target.name).replace(target)


def _rewrite(path: Path, name: str, lines: frozenset[int], target: Path) -> int:
    with opened(path, name, (), UNLIMITED) as file:
        if file.dialect.get("format") == "parquet":
            return _parquet(path, lines, target)
        if (form := file.dialect.get("format")) in ("json array", "json objects"):
            rows = list(file.rows)
            if refused := [row for row in rows if isinstance(row, Refusal) and row.line not in lines]:
                raise ValueError(f"{name}: row {refused[0].line}: {refused[0].detail}")
            kept = [row.raw for row in rows if row.line not in lines]
            target.write_text("[\n" + ",\n".join(kept) + "\n]\n" if form == "json array" else "\n".join(kept) + "\n", encoding="utf-8")
            return len(rows) - len(kept)
        starts = sorted({row.line for row in file.rows})
    if starts == [0] or not file.encoding:
        raise ValueError(f"{name} cannot be read")
    firsts, ends = _spans(starts, lines)
    codec = file.encoding
    # Which legacy encoding a file has is a guess from its text: without some rows the next guess might be another one.
    written = codec if codec.startswith("utf") else "utf-8"
    with (
        path.open(encoding=codec, errors="surrogateescape", newline="") as source,
        target.open("w", encoding=written, errors="surrogateescape", newline="") as out,
    ):
        for number, text in enumerate(source, start=1):
            at = bisect.bisect_right(firsts, number) - 1
            out.write(text[len(text.rstrip("\r\n")) :] if at >= 0 and number < ends[at] else text)
    return len(lines & set(starts))


def _spans(starts: list[int], lines: frozenset[int]) -> tuple[list[int], list[int]]:
    """First lines, and the lines after the last, of the rows that begin on these lines."""
    after = dict(zip(starts, [*starts[1:], 1 << 62], strict=True))
    firsts = sorted(lines & after.keys())
    return firsts, [after[line] for line in firsts]


def _parquet(path: Path, lines: frozenset[int], target: Path) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    number = taken = 0
    with parquet.ParquetFile(path) as source, parquet.ParquetWriter(target, source.schema_arrow) as out:
        for batch in source.iter_batches():
            keep = [at not in lines for at in range(number + 1, number + 1 + batch.num_rows)]
            number, taken = number + batch.num_rows, taken + keep.count(False)
            out.write_batch(batch.filter(pa.array(keep)))
    return taken
