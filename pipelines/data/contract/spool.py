"""The rows of a night on this machine's disk: read many times, always in one order, a batch at a time.

The lake gives its rows in no order and a rule may have to look at them twice, so a row needs a number that holds. The
file is Arrow's own, a column is read without the others, and memory does not grow with the rows.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import records
from pipelines.foundation.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH_ROWS = 1 << 16


class Spool(NamedTuple):
    """Rows of `traffic`, numbered from 0."""

    path: str
    columns: tuple[str, ...]  # those that are there
    rows: int

    def batches(self, columns: Iterable[str]) -> "Iterator[tuple[int, pa.RecordBatch]]":
        """(number of its first row, batch) with these columns, in order; where there are no rows, one empty batch."""
        import pyarrow as pa

        wanted = [name for name in self.columns if name in set(columns)]
        options = pa.ipc.IpcReadOptions(included_fields=[self.columns.index(name) for name in wanted] or [0])
        at = 0
        with pa.OSFile(self.path) as file, pa.ipc.open_file(file, options=options) as stored:
            if not stored.num_record_batches:
                yield 0, pa.RecordBatch.from_pylist([], schema=pa.schema([records.schema("traffic").field(name) for name in wanted]))
            for number in range(stored.num_record_batches):
                batch = stored.get_batch(number)
                yield at, batch
                at += batch.num_rows

    def take(self, columns: Iterable[str], chosen: "np.ndarray") -> "pa.Table":
        """The rows that the mask `chosen` (bool [rows]) names, in order, as one table: only what a rule needs whole is read so."""
        import pyarrow as pa

        parts = [batch.filter(pa.array(chosen[at : at + batch.num_rows])) for at, batch in self.batches(columns)]
        return pa.Table.from_batches(parts)


@contextlib.contextmanager
def spooled(batches: "Iterable[pa.RecordBatch]", columns: Iterable[str]) -> Iterator[Spool]:
    """Write the batches down, joined to batches of BATCH_ROWS rows; the file is gone afterwards."""
    import pyarrow as pa

    schema = pa.schema([field for field in records.schema("traffic") if field.name in set(columns)])
    with scratch() as folder:
        path, rows = Path(folder, "rows.arrow"), 0
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as out:
            for batch in _joined(batches, schema):
                out.write_batch(batch)
                rows += batch.num_rows
        yield Spool(str(path), tuple(schema.names), rows)


def _joined(batches: "Iterable[pa.RecordBatch]", schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch.select(schema.names))
        if sum(part.num_rows for part in held) >= BATCH_ROWS:
            yield pa.concat_batches(held)
            held = []
    if any(part.num_rows for part in held):
        yield pa.concat_batches(held)
