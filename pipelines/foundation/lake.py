"""Delta tables, a folder of tables a use case: every write is one transaction, every read names a version.

The same code works on a local folder and on S3 (`s3://bucket/prefix`, credentials from the environment).
"""

import contextlib
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import records
from pipelines.foundation.scratch import alone, beside

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    Rows = pa.Table | Iterable[dict] | Callable[[], Iterator[pa.RecordBatch]]

ATTEMPTS = 20
IN_LIST = 2_000  # values of one condition
SQL = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "timestamp": "TIMESTAMP"}
DISK = ("No space left on device", "Disk quota exceeded", "Read-only file system", "Permission denied", "Operation not permitted")
log = logging.getLogger("pipelines.lake")


class Lake(NamedTuple):
    """The tables of one use case."""

    root: str  # folder or s3:// URI that holds one folder a table

    def version(self, table: str) -> int | None:
        """The newest version of a table, None where it was never written."""
        from deltalake import DeltaTable

        if not DeltaTable.is_deltatable(self.uri(table)):
            return None
        return DeltaTable(self.uri(table)).version()

    def oldest(self, table: str) -> int | None:
        """The oldest version that is kept: an earlier one was taken off the disk, and is read as this one; None: never written."""
        from deltalake import DeltaTable

        if not DeltaTable.is_deltatable(self.uri(table)):
            return None
        return min(entry["version"] for entry in DeltaTable(self.uri(table)).history())

    def read(self, table: str, version: int | None, columns: list[str] | None = None, where: str = "") -> "pa.Table":
        """Rows of one version (None: no rows) as Arrow, typed as in `records`; `where` is an SQL condition. See `scan`."""
        import pyarrow as pa

        return pa.Table.from_batches(self.scan(table, version, columns, where), _schema(table, columns))

    def scan(self, table: str, version: int | None, columns: list[str] | None = None, where: str = "") -> "Iterator[pa.RecordBatch]":
        """The same rows a batch (some thousand) at a time, in no order, so that memory does not grow with them.

        A version that is no longer kept, since somebody was erased or its time was up, is read as of the oldest that is: a
        night's rows are only ever replaced as a whole, so these are its rows without what had to go. Reads through
        delta-rs' own engine: a pyarrow scan of the same files aborts the process now and then at exit.
        """
        import pyarrow as pa
        from deltalake import QueryBuilder

        schema = _schema(table, columns)
        if version is None:
            return
        stored = self._kept(table, version)
        written = {field.name for field in stored.schema().fields}  # a column that a later release added is null before it
        missing = "".join(f', CAST(NULL AS {SQL[kind]}) AS "{name}"' for name, kind in records.TABLES[table].items() if name not in written)
        names = ", ".join(f'"{name}"' for name in schema.names)
        query = f"SELECT {names} FROM (SELECT *{missing} FROM rows)" + (f" WHERE {where}" if where else "")
        some = False
        try:
            for batch in pa.RecordBatchReader.from_stream(QueryBuilder().register("rows", stored).execute(query)):
                some = True
                yield batch.cast(schema)
        except pa.ArrowInvalid as error:
            if "not found" not in str(error):
                raise
            newest = self.version(table)
            if some or newest in (None, stored.version()):
                gone = f"a file of its version {stored.version()} was removed"
                raise UserError(f"{self.uri(table)}: {gone}: run the step again, or restore it from a backup") from None
            log.warning("%s: files of version %d were removed, version %d is read for it", self.uri(table), version, newest)
            yield from self.scan(table, newest, columns, where)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """What steps hold while they work: it keeps an erasure out. On S3, which knows no locks, it holds nothing."""
        with self._locked(beside):
            yield

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """What an erasure holds: it waits for the steps that run, and the next ones wait for it."""
        with self._locked(alone):
            yield

    def replace(self, table: str, rows: "Rows", **where: str) -> int:
        """Replace the rows whose columns equal `where` (say `night="2026-11-20"`) in one transaction; returns the version.

        Safe to repeat: the second time leaves the same rows. Without `where`, appends. `rows` may be a function that gives
        batches: they are written as they come, and asked for again where another writer was first.
        """
        predicate = " AND ".join(f"{name} = '{literal(value)}'" for name, value in where.items())
        data = rows if callable(rows) else self._table(table, rows)
        return commit(lambda: self._write(table, _stream(table, data) if callable(data) else data, predicate), self.uri(table))

    def append(self, table: str, rows: "Rows") -> int:
        """Add rows in one transaction; returns the version."""
        return self.replace(table, rows)

    def delete(self, table: str, where: str) -> int:
        """Take rows out of the newest version in one transaction; returns their number. `upkeep` takes their files off the disk."""
        from deltalake import DeltaTable

        uri = self.uri(table)
        if DeltaTable.is_deltatable(uri):
            return commit(lambda: DeltaTable(uri).delete(where)["num_deleted_rows"], uri)
        return 0

    def update(self, table: str, where: str, **values: str) -> None:
        """Set columns of the newest version's rows to constants in one transaction."""
        from deltalake import DeltaTable

        uri = self.uri(table)
        if DeltaTable.is_deltatable(uri):
            texts = {name: f"'{literal(value)}'" for name, value in values.items()}
            commit(lambda: DeltaTable(uri).update(updates=texts, predicate=where)["num_updated_rows"], uri)

    def _locked(self, how: "Callable[[Path], contextlib.AbstractContextManager[None]]") -> "contextlib.AbstractContextManager[None]":
        if "://" in self.root:
            return contextlib.nullcontext()
        with _disk(self.root):
            Path(self.root).mkdir(parents=True, exist_ok=True)
        return how(Path(self.root))

    def _kept(self, table: str, version: int) -> "DeltaTable":
        """The table at a version, or at the oldest that is kept after it."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        uri = self.uri(table)
        try:
            return DeltaTable(uri, version=version)
        except DeltaError:
            oldest = self.oldest(table)
            if oldest is None or oldest <= version:
                raise
        log.warning("%s: version %d is no longer kept, version %d is read for it", uri, version, oldest)
        return DeltaTable(uri, version=oldest)

    def _write(self, table: str, data: "pa.Table | pa.RecordBatchReader", predicate: str) -> int:
        from deltalake import DeltaTable, write_deltalake

        self._create(table)
        uri = self.uri(table)
        if predicate:
            write_deltalake(uri, data, mode="overwrite", predicate=predicate, schema_mode="merge")
        else:
            write_deltalake(uri, data, mode="append", schema_mode="merge")
        return DeltaTable(uri).version()

    def _create(self, table: str) -> None:
        from deltalake import DeltaTable, Schema

        uri = self.uri(table)
        if DeltaTable.is_deltatable(uri):
            # A predicate may name a column that a later release added.
            stored, wanted = DeltaTable(uri), Schema.from_arrow(records.schema(table)).fields
            written = {field.name for field in stored.schema().fields}
            if added := [field for field in wanted if field.name not in written]:
                stored.alter.add_columns(added)
        else:
            if "://" not in uri:
                Path(uri).mkdir(parents=True, exist_ok=True)
            stats = ",".join(name for name in records.TABLES[table] if name in records.INDEXED)
            DeltaTable.create(
                uri,
                schema=records.schema(table),
                partition_by=[next(name for name in ("night", "day") if name in records.TABLES[table])],
                mode="ignore",
                configuration={"delta.dataSkippingStatsColumns": stats},
            )

    def uri(self, table: str) -> str:
        """Where a table lies."""
        records.TABLES[table]  # a KeyError names a table that the house does not have
        return f"{self.root}/{table}"

    def _table(self, table: str, rows: "pa.Table | Iterable[dict]") -> "pa.Table":
        import pyarrow as pa

        schema = records.schema(table)
        if isinstance(rows, pa.Table):
            return rows.select(schema.names).cast(schema)
        return pa.Table.from_pylist(list(rows), schema=schema)


def _schema(table: str, columns: list[str] | None) -> "pa.Schema":
    import pyarrow as pa

    schema = records.schema(table)
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _stream(table: str, batches: "Callable[[], Iterator[pa.RecordBatch]]") -> "pa.RecordBatchReader":
    import pyarrow as pa

    schema = records.schema(table)
    return pa.RecordBatchReader.from_batches(schema, (batch.select(schema.names).cast(schema) for batch in batches()))


def literal(value: str) -> str:
    """A text within the quotes of an SQL condition."""
    return value.replace("'", "''")


def among(column: str, values: Collection[str]) -> Iterator[str]:
    """Conditions `column IN (...)` that together are true of the values, in parts of IN_LIST; none for no values."""
    ordered = list(values)
    for start in range(0, len(ordered), IN_LIST):
        listed = ", ".join(f"'{literal(value)}'" for value in ordered[start : start + IN_LIST])
        yield f"{column} IN ({listed})"


def commit(write: Callable[[], int], uri: str) -> int:
    """Run a whole write again when another writer was first: delta-rs appends are not blind (delta-rs #3890)."""
    from deltalake.exceptions import CommitFailedError

    for attempt in range(ATTEMPTS):
        try:
            with _disk(uri):
                return write()
        except CommitFailedError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _disk(uri: str) -> Iterator[None]:
    """Raises UserError where the disk is full or may not be written to: delta-rs wraps the operating system's error in text."""
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        yield
    except CommitFailedError:
        raise
    except (DeltaError, OSError) as error:
        why = next((why for why in DISK if why in str(error)), None)
        if why is None:
            raise
        raise UserError(f"{uri} could not be written: {why}; free the disk or mend the permissions, then run the step again") from None
