"""Take in the files that are due and were not taken before, known by the SHA-256 of their bytes, whatever their names.

A file whose name carries a date later than the night is not due yet; an undated one always is. Each row is accepted into
`traffic` or put into `quarantine` with its reason, source and line; a file that cannot be read is one refused row, line 0,
and so is an empty one. Each file is written on its own and marked in `files` last, so a killed ingest is simply run again.
A night that was finished is read anew where its settings or its files have changed since.
`python -m pipelines ingest --usecase support --night 2026-11-20`, or `ingest --source PATH --json` to look at any file.
"""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pipelines.data.known import Known
from pipelines.data.mapping import Mapping, accept, mapping, needed
from pipelines.data.readers import File, opened
from pipelines.data.rows import Refusal
from pipelines.data.sources import Found, digest, disk, find, local, name_date
from pipelines.errors import UserError
from pipelines.foundation.step import Night, results, step
from pipelines.sections import Contract

BATCH_ROWS = 50_000
BATCH_CHARACTERS = 32 << 20  # of raw text
log = logging.getLogger("pipelines.data.ingest")


class Counts(NamedTuple):
    """Rows of one file."""

    read: int
    accepted: int
    quarantined: int


def due(night: Night) -> list[Found]:
    """Files of the sources that this night takes or has taken."""
    earlier = {file for file, when in _taken(night) if when < night.night}
    return [found for found in find(night) if name_date(found.name) <= night.night and found.mark not in earlier]


def fingerprints(night: Night) -> dict[str, list[str]]:
    """Content fingerprints of the files that are due: what the step's result depends on besides its settings."""
    return {"files": sorted(found.mark for found in due(night))}


@step(code=1, sections=("sources", "contract", "task"), extra=fingerprints)
def ingest(night: Night) -> dict:
    """Read the files that are due into `traffic` and `quarantine`; returns the night's counts and the tables' versions.

    Raises UserError where a source has no files, a checksum is wrong, the disk is full, or nothing was ever there to read.
    """
    files = due(night)
    marks = _taken(night)
    finished = results(night.lake, night.night).get("ingest")
    again = finished is not None and finished["key"] != night.key  # the settings or the files changed: the night is read anew
    done = {file for file, when in marks if when < night.night or (when == night.night and not again)}
    known = Known(night.lake, night.night)
    for found in files:
        with local(found) as path:
            sha = digest(path)
            if sha in done:
                log.info("ingest: %s was taken before, the same bytes", found.shown)
                continue
            _clear(night, sha, known, taken_later=any(file == sha and when > night.night for file, when in marks))
            _take(night, found, path, sha, known)
            done.add(sha)
    if not files and night.lake.version("files") is None:
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: sources have no file that is due on {night.night}, and no file was taken before: "
            f"put files there, or choose a later night (a date in a file's name is the first night that takes it)"
        )
    totals = night.lake.read(
        "files", night.lake.version("files"), ["read", "accepted", "quarantined"], f"night = '{night.night}'"
    ).to_pydict()
    versions = {table: night.lake.version(table) for table in ("traffic", "files", "quarantine")}
    return {name: sum(values) for name, values in totals.items()} | versions


def inspect(source: str) -> dict:
    """What reading a file gives, without a use case and without writing anything: encoding, dialect, counts by reason.

    All columns are taken as they stand; the limit of a cell is the contract's default. Raises UserError for a missing path.
    """
    path = Path(source)
    if not path.is_file():
        raise UserError(f"{source} is {'a folder' if path.is_dir() else 'not there'}: --source takes one file")
    accepted, reasons = 0, Counter()
    with disk(path), opened(path, path.name, (), Contract().max_text_bytes) as file:
        for row in file.rows:
            if isinstance(row, Refusal):
                reasons[row.reason] += 1
            else:
                accepted += 1
    read = accepted + reasons.total()
    return {"encoding": file.encoding, "dialect": file.dialect, "read": read, "accepted": accepted, "quarantined": dict(reasons)}


def _taken(night: Night) -> list[tuple[str, str]]:
    """(SHA-256, night) of every file that was taken whole."""
    rows = night.lake.read("files", night.lake.version("files"), ["file", "night"]).to_pydict()
    return list(zip(rows["file"], rows["night"], strict=True))


def _clear(night: Night, sha: str, known: Known, taken_later: bool) -> None:
    """Remove what a killed or an earlier run of the night left of a file; of this night alone where a later one has taken it."""
    where = {"file": sha} | ({"night": night.night} if taken_later else {})
    condition = " AND ".join(f"{name} = '{value}'" for name, value in where.items())
    for table, more in (("traffic", {}), ("quarantine", {"step": "ingest"})):
        if night.lake.read(table, night.lake.version(table), ["line"], condition).num_rows:
            night.lake.replace(table, [], **where, **more)
            known.reload()


def _take(night: Night, found: Found, path: Path, sha: str, known: Known) -> None:
    """Read one file into the lake, its mark last."""
    source = night.usecase.sources[found.place]
    how = mapping(source, night.usecase, sha, found.shown, night.night, name_date(found.name) or night.night)
    wanted = list(needed(source, night.usecase).values())
    with disk(path), opened(path, found.name, wanted, night.usecase.contract.max_text_bytes) as file:
        counts = _write(night, file, how, known, f"{night.usecase.folder}/usecase.yaml: sources[{found.place}].columns")
    mark = counts._asdict() | {"file": sha, "source": found.shown, "night": night.night, "bytes": path.stat().st_size}
    mark |= {"encoding": file.encoding, "dialect": json.dumps(file.dialect)}
    night.lake.replace("files", [mark], file=sha, night=night.night)
    log.info("ingest: %s (%s): read %d, accepted %d, quarantined %d", found.shown, file.encoding or "no text", *counts)


def _write(night: Night, file: File, how: Mapping, known: Known, key: str) -> Counts:
    """Write a file's rows in batches and count them."""
    written = Counts(0, 0, 0)
    read = size = 0
    good: list[dict] = []
    bad: list[Refusal] = []
    for row in file.rows:
        read += 1
        size += len(row.raw)
        result = row if isinstance(row, Refusal) else accept(row, how)
        if not isinstance(result, Refusal):
            good.append(result)
        elif result.reason in ("missing_column", "duplicate_column"):
            bad.append(result._replace(detail=f"{result.detail}; see {key}"))
        else:
            bad.append(result)
        if len(good) + len(bad) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
            written = _flush(night, good, bad, how, known, written)
            good, bad, size = [], [], 0
    written = _flush(night, good, bad, how, known, written)._replace(read=read)
    if read != written.accepted + written.quarantined:
        raise AssertionError(f"{how.source}: read {read}, but wrote {written.accepted} and {written.quarantined} rows: rows were lost")
    return written


def _flush(night: Night, good: list[dict], bad: list[Refusal], how: Mapping, known: Known, written: Counts) -> Counts:
    """Append one batch, rows with a known id to quarantine; returns the counts with what the tables were given."""
    new, again = known.admit(good)
    place = {"file": how.file, "source": how.source, "night": how.night, "step": "ingest"}
    refused = [row._asdict() | place for row in (*bad, *again)]
    for table, rows in (("traffic", new), ("quarantine", refused)):
        if rows:
            night.lake.append(table, rows)
    return Counts(0, written.accepted + len(new), written.quarantined + len(refused))
