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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.data.reading import schemas
from pipelines.data.reading.disk import disk
from pipelines.data.reading.drifted import drifted, suggestion
from pipelines.data.reading.known import SAME, Known
from pipelines.data.reading.mapping import Mapping, accept, mapping, needed
from pipelines.data.reading.readers import opened
from pipelines.data.reading.rows import Refusal, Row
from pipelines.data.reading.sources import Found, digest, find, local, name_date
from pipelines.errors import UserError
from pipelines.foundation.step import Night, results, step
from pipelines.foundation.subjects import Erased
from pipelines.sections import Contract

BATCH_ROWS = 50_000
BATCH_CHARACTERS = 32 << 20  # of raw text
log = logging.getLogger("pipelines.data.ingest")


class Counts(NamedTuple):
    """Rows of one file."""

    read: int
    accepted: int
    quarantined: int
    duplicates: int  # of the quarantined: rows that are nothing new


class _Taken(NamedTuple):
    """A file that was taken whole."""

    file: str  # SHA-256
    night: str
    source: str
    marks: dict[str, str]  # of the objects that have these bytes, and the night that found it out


def due(night: Night) -> list[Found]:
    """Files of the sources that this night takes or has taken."""
    taken = _taken(night)
    earlier = {one.file for one in taken if one.night < night.night}
    earlier |= {mark for one in taken for mark, when in one.marks.items() if when < night.night}
    return [found for found in find(night) if name_date(found.name) <= night.night and found.mark not in earlier]


def fingerprints(night: Night) -> dict[str, list[str]]:
    """Content fingerprints of what is due, on which the step's result depends besides its settings; traces and queries are asked for."""
    marks = []
    for found in due(night):
        if found.mark:
            marks.append(found.mark)
        else:
            with local(night, found) as path:
                marks.append(digest(path))
    return {"files": sorted(marks)}


@step(code=2, sections=("sources", "contract", "task"), extra=fingerprints)
def ingest(night: Night) -> dict:
    """Read the files that are due into `traffic` and `quarantine`; returns the night's counts, `schema_drift`, the tables' versions.

    Of the quarantined, `duplicates` are rows that are there already. Raises UserError where a source has no files or cannot be
    asked, a checksum is wrong, the disk is full, or nothing was ever there to read.
    """
    files, taken = due(night), _taken(night)
    finished = results(night.lake, night.night).get("ingest")
    again = finished is not None and finished["key"] != night.key  # the settings or the files changed: the night is read anew
    done = {one.file for one in taken if one.night < night.night or (one.night == night.night and not again)}
    marks = {mark for one in taken if one.file in done for mark in one.marks}
    known = Known(night.lake, night.night)
    _hand_over(night, taken, known)
    for found in files:
        if found.mark in marks:
            log.info("ingest: %s was taken before, unchanged", found.shown)
            continue
        with local(night, found) as path:
            sha = digest(path)
            if sha in done:
                log.info("ingest: %s was taken before, the same bytes", found.shown)
                _mark(night, sha, found)
                continue
            _clear(night, sha, known, taken_later=any(one.file == sha and one.night > night.night for one in taken))
            _supersede(night, found, sha, taken, known)
            if path.stat().st_size or found.path or found.mark:
                _take(night, found, path, sha, known)
            else:
                log.info("ingest: %s has no rows of the night", found.shown)
            done.add(sha)
    if not files and night.lake.version("files") is None:
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: sources have no file that is due on {night.night}, and no file was taken before: "
            f"put files there, or choose a later night (a date in a file's name is the first night that takes it)"
        )
    totals = night.lake.read("files", night.lake.version("files"), list(Counts._fields), f"night = '{night.night}'").to_pydict()
    versions = {table: night.lake.version(table) for table in ("traffic", "files", "quarantine")}
    return {name: sum(value or 0 for value in values) for name, values in totals.items()} | {"schema_drift": drifted(night)} | versions


def inspect(source: str) -> dict:
    """What reading a file gives, without a use case and without writing anything: encoding, dialect, counts by reason.

    All columns are taken as they stand; the limit of a cell is the contract's default. Raises UserError for a missing path.
    """
    path = Path(source)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file" if path.exists() else "not there"
        raise UserError(f"{source} is {what}: --source takes one file")
    accepted, reasons = 0, Counter()
    with disk(path), opened(path, path.name, (), Contract().max_text_bytes) as file:
        for row in file.rows:
            if isinstance(row, Refusal):
                reasons[row.reason] += 1
            else:
                accepted += 1
    read = accepted + reasons.total()
    return {"encoding": file.encoding, "dialect": file.dialect, "read": read, "accepted": accepted, "quarantined": dict(reasons)}


def _taken(night: Night) -> list[_Taken]:
    """Every file that was taken whole."""
    rows = night.lake.read("files", night.lake.version("files"), list(_Taken._fields[:3]) + ["mark"]).to_pylist()
    return [_Taken(row["file"], row["night"], row["source"], json.loads(row["mark"] or "{}")) for row in rows]


def _hand_over(night: Night, taken: list[_Taken], known: Known) -> None:
    """Remove what this night had of a file that an earlier night has taken since, where that was run anew: a row is of one night."""
    earlier = {one.file for one in taken if one.night < night.night}
    for one in taken:
        if one.night == night.night and one.file in earlier:
            _forget(night, one.file, known)


def _supersede(night: Night, found: Found, sha: str, taken: list[_Taken], known: Known) -> None:
    """Remove what this night had of the same place before its bytes changed: a file that was mended, a query with other rows."""
    for one in taken:
        if (one.night, one.source) == (night.night, found.shown) and one.file != sha:
            log.info("ingest: %s has changed since this night took it, and is read anew", found.shown)
            _forget(night, one.file, known)


def _forget(night: Night, sha: str, known: Known) -> None:
    _clear(night, sha, known, taken_later=True)
    night.lake.replace("files", [], file=sha, night=night.night)


def _clear(night: Night, sha: str, known: Known, taken_later: bool) -> None:
    """Remove what a killed or an earlier run of the night left of a file; of this night alone where another one has taken it."""
    where = {"file": sha} | ({"night": night.night} if taken_later else {})
    condition = " AND ".join(f"{name} = '{value}'" for name, value in where.items())
    for table, more in (("traffic", {}), ("quarantine", {"step": "ingest"})):
        if night.lake.read(table, night.lake.version(table), ["line"], condition).num_rows:
            night.lake.replace(table, [], **where, **more)
            known.reload()


def _mark(night: Night, sha: str, found: Found) -> None:
    """Note that an object has the bytes of a file that was taken before, so that it is not fetched again."""
    if found.path or not found.mark:
        return
    for row in night.lake.read("files", night.lake.version("files"), where=f"file = '{sha}'").to_pylist():
        marks = {found.mark: night.night} | json.loads(row["mark"] or "{}")
        night.lake.replace("files", [row | {"mark": json.dumps(marks)}], file=sha, night=row["night"])


def _take(night: Night, found: Found, path: Path, sha: str, known: Known) -> None:
    """Read one file into the lake, its mark last."""
    source = night.usecase.sources[found.place]
    how = mapping(source, night.usecase, sha, found.shown, night.night, name_date(found.name) or night.night)
    wanted, limit = list(needed(source, night.usecase).values()), night.usecase.contract.max_text_bytes
    with disk(path), opened(path, found.name, wanted, limit) as file:
        first, rows = schemas.peek(file.rows)
        if not file.dialect and first[0].reason == "missing_column":
            with opened(path, found.name, (), limit) as other:  # as it stands, to say what it has instead
                file, first = other, schemas.peek(other.rows)[0]
        columns = schemas.describe(first, schemas.form(file.dialect))
        hint = f"see {night.usecase.folder}/usecase.yaml: sources[{found.place}].columns"
        hints = dict.fromkeys(("missing_column", "duplicate_column"), hint)
        if not set(wanted) <= set(columns) and (told := suggestion(night, source.origin, schemas.form(file.dialect), columns, wanted)):
            hints = dict.fromkeys((*hints, "missing_text", "label_missing"), told + hint)
        counts = _write(night, rows, how, known, hints)
    mark = counts._asdict() | {"file": sha, "source": found.shown, "night": night.night, "bytes": path.stat().st_size}
    mark |= {"encoding": file.encoding, "dialect": json.dumps(file.dialect), "origin": source.origin, "columns": json.dumps(columns)}
    mark |= {"mark": json.dumps({} if found.path or not found.mark else {found.mark: night.night})}
    night.lake.replace("files", [mark], file=sha, night=night.night)
    log.info("ingest: %s (%s): read %d, accepted %d, quarantined %d, duplicates %d", found.shown, file.encoding or "no text", *counts)


def _write(night: Night, rows: Iterator[Row | Refusal], how: Mapping, known: Known, hints: dict[str, str]) -> Counts:
    """Write a file's rows in batches and count them; `hints` are added to the refusals of these reasons."""
    written, erased = Counter(), Erased(night.lake)
    read = size = 0
    good: list[dict] = []
    bad: list[Refusal] = []
    for row in rows:
        read += 1
        size += len(row.raw)
        result = row if isinstance(row, Refusal) else accept(row, how)
        if not isinstance(result, Refusal) and (day := erased.since(result["subject_id"], result["day"])):
            bad.append(Refusal(row.line, "erased_subject", f"this person was erased on {day}: mend the source", ""))
        elif not isinstance(result, Refusal):
            good.append(result)
            size += len(result["attributes"])  # which repeat the names of the columns
        else:
            more = hints.get(result.reason)
            bad.append(result._replace(detail=f"{result.detail}; {more}") if more else result)
        if len(good) + len(bad) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
            _flush(night, known.admit(good), bad, how, written)
            good, bad, size = [], [], 0
            if known.full:
                _flush(night, *known.settle(), how, written)
    _flush(night, known.admit(good), bad, how, written)
    _flush(night, *known.settle(), how, written)
    if read != written["accepted"] + written["quarantined"]:
        raise AssertionError(f"{how.source}: read {read}, but wrote {dict(written)}: rows were lost")
    return Counts(read, written["accepted"], written["quarantined"], written["duplicates"])


def _flush(night: Night, new: list[dict], refused: list[Refusal], how: Mapping, written: Counter) -> None:
    """Append rows to the tables, and count them in `written`."""
    place = {"file": how.file, "source": how.source, "night": how.night, "step": "ingest"}
    for table, rows in (("traffic", new), ("quarantine", [row._asdict() | place for row in refused])):
        if rows:
            night.lake.append(table, rows)
    same = sum(row.reason in SAME for row in refused)
    written.update(accepted=len(new), quarantined=len(refused), duplicates=same)
