"""The files of `split.off_limits`, whose texts may never be trained on: CSV with a header, JSON lines, Parquet, also gzipped.

Read strictly, unlike traffic: a line that was passed over could be trained on.
"""

import contextlib
import gzip
import hashlib
import itertools
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import places, tabular
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night

COLUMNS = ("text", "prompt")  # the first that is there
BATCH = 8192


class Barred(NamedTuple):
    """A text that must not be trained on."""

    where: str  # an example's id, or file and line
    night: str  # of a sealed example; empty: a file
    text: str


def read(night: Night) -> Iterator[Barred]:
    """The texts, in order; raises UserError with file, line and setting for a file that is missing or wrong."""
    for number, path in enumerate(_files(night)):
        where = f"split.off_limits[{number}] in {night.usecase.folder}/usecase.yaml"
        try:
            some = False
            for row in _rows(path):
                some = True
                value = next((row.values[column] for column in COLUMNS if column in row.values), None)
                if not isinstance(value, str) or not value.strip():
                    raise UserError(f"{path}, line {row.line}: there is no text here")
                yield Barred(f"{places.shown(path)}:{row.line}", "", value)
            if not some:
                raise UserError(f"{path} holds no rows")
        except UserError as error:
            raise UserError(f"{error} ({where}; the texts are the column text, else prompt)") from None


def digests(night: Night) -> list[str]:
    """SHA-256 of each file, for the keys of the steps that depend on them."""
    found = []
    for path in _files(night):
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def _files(night: Night) -> Iterator[Path]:
    """Where the files lie; raises UserError for one that lies nowhere."""
    for number, name in enumerate(night.usecase.split.off_limits):
        tried = places.searched(night, name)
        path = next((path for path in tried if path.is_file()), None)
        if path is None:
            raise UserError(
                f"{night.usecase.folder}/usecase.yaml: split.off_limits[{number}] {name!r} was found nowhere. Searched: "
                f"{', '.join(map(str, tried))}. Put the file in one of these places, or add a folder to data_folders in the profile"
            )
        yield path


def _rows(path: Path) -> Iterator[tabular.Row]:
    """The rows of one file with those of COLUMNS that it has."""
    with _unzipped(path) as plain:
        with plain.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        if parquet:
            yield from _parquet(path, plain)
            return
        found = tabular.rows(str(plain), (), COLUMNS)
        try:
            first = next(found, None)
            if first is not None and not first.values:
                first, found = None, tabular.rows(str(plain), COLUMNS[:1])  # raises, and names the columns found
            yield from itertools.chain([first] if first else [], found)
        except UserError as error:
            raise UserError(str(error).replace(str(plain), str(path))) from None


def _parquet(path: Path, plain: Path) -> Iterator[tabular.Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(plain)
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        if not names:
            raise UserError(f"{path}: the column text is missing; found: {', '.join(file.schema_arrow.names)}")
        lines = itertools.count(1)
        for batch in file.iter_batches(BATCH, columns=names[:1]):
            yield from (tabular.Row(line, {names[0]: value}) for value, line in zip(batch.column(0).to_pylist(), lines, strict=False))
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a sound Parquet file: {str(error)[:80]}") from None


@contextlib.contextmanager
def _unzipped(path: Path) -> Iterator[Path]:
    """The file itself, or what a gzip file holds."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        yield path
        return
    with scratch() as folder:
        plain = folder / path.with_suffix("").name
        try:
            with gzip.open(path) as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: the gzip file is damaged: {error}") from None
        yield plain
