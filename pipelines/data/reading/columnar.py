"""Parquet as rows, a batch at a time. A value that Python cannot hold costs its row alone.

Reasons given here: file_unreadable, missing_column, duplicate_column, undecodable, bad_value.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.reading.objects import DEEP, depth
from pipelines.data.reading.rows import FileRefused, Refusal, Row, distinct, refuse

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

BATCH = 1000  # rows


def read_parquet(path: Path, needed: Sequence[str]) -> Iterator[Row | Refusal]:
    """The rows of a Parquet file; raises FileRefused before the first row where it cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileRefused("file_unreadable", f"the Parquet file is damaged: {error}") from None
    missing, twice = [name for name in needed if name not in names], [name for name in needed if names.count(name) > 1]
    if missing or twice:
        file.close()
    if missing:
        found = ", ".join(map(repr, names[:40]))
        raise FileRefused("missing_column", f"there is no column {', '.join(map(repr, missing))}; the columns found are {found}")
    if twice:
        raise FileRefused("duplicate_column", f"the file has {', '.join(map(repr, twice))} more than once")
    return _parquet_rows(file, distinct(names))


def _parquet_rows(file: "parquet.ParquetFile", names: list[str]) -> Iterator[Row | Refusal]:
    import pyarrow as pa

    number = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=BATCH):
                for columns in _columns(batch.rename_columns(names)):
                    number += 1
                    if isinstance(columns, dict):
                        yield _parquet_row(number, columns)
                    else:
                        yield refuse(number, "undecodable" if isinstance(columns, UnicodeDecodeError) else "bad_value", str(columns), "")
        except (pa.ArrowException, OSError) as error:
            yield refuse(number + 1, "file_unreadable", f"nothing from this row on can be read: {error}", "")


def _parquet_row(number: int, columns: dict) -> Row | Refusal:
    raw = json.dumps(columns, default=str, ensure_ascii=False)
    if raw.count("{") + raw.count("[") > DEEP and depth(raw) > DEEP:
        return refuse(number, "bad_value", f"nested too deeply, the limit is {DEEP}", raw)
    return Row(number, columns, raw)


def _columns(batch: "pa.RecordBatch") -> Iterator[dict | Exception]:
    """The rows of a batch; in place of one with a value that Python cannot hold (a time in the year 200,000), the error."""
    try:
        yield from batch.to_pylist()
        return
    except (UnicodeDecodeError, OverflowError, ValueError):
        pass
    for at in range(batch.num_rows):
        try:
            yield batch.slice(at, 1).to_pylist()[0]
        except (UnicodeDecodeError, OverflowError, ValueError) as error:
            yield error
