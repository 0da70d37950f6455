"""Where a use case's files are: its own folder, the profile's data folders, a URL, or S3; a checksum is held where one is given.
The traces of an MLflow experiment and the rows of a query are a file too, one a night, written for as long as it is read.

A relative path is looked for in the use case's folder, then in each of the profile's data_folders (relative to the
project), and is fetched from the source's `url` at last. In a folder every file counts except README* and hidden ones.
"""

import contextlib
import datetime
import glob
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.data.reading import buckets
from pipelines.data.reading.disk import disk
from pipelines.data.reading.queries import query
from pipelines.data.reading.traces import trace
from pipelines.errors import UserError
from pipelines.foundation import places
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night
from pipelines.sections import Source

CHUNK = 1 << 20  # bytes


class Found(NamedTuple):
    """One file of a source."""

    shown: str  # path or URI as a person would type it
    name: str  # without its folder
    place: int  # of its source in the use case
    mark: str  # SHA-256; of an object on S3, which is not fetched to be looked at, ETag and time; empty: it has to be asked for
    path: str  # where it lies; empty where it is fetched


def find(night: Night) -> list[Found]:
    """Every file of every source, in the order of the sources; raises UserError where a source has none anywhere."""
    found = []
    for place, source in enumerate(night.usecase.sources):
        if not source.path:
            files = [Found(source.origin, f"{source.mlflow or source.connection}.jsonl", place, "", "")]
        elif source.path.startswith("s3://"):
            objects = buckets.list_objects(source.path)
            files = [Found(found.uri, found.name, place, found.mark, "") for found in objects if _counts(found.name)]
        else:
            files = _files(night, source, place)
        if source.sha256:
            _check(night, source, place, files)
        found += files
    return found


def name_date(name: str) -> str:
    """The date (YYYY-MM-DD) in a file's name, empty where there is none."""
    for text in re.findall(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)", name):
        with contextlib.suppress(ValueError):
            return datetime.date.fromisoformat(text).isoformat()
    return ""


@contextlib.contextmanager
def local(night: Night, found: Found) -> Iterator[Path]:
    """The file on this machine's disk for as long as it is read; what is elsewhere is fetched into a temporary file."""
    if found.path:
        yield Path(found.path)
        return
    source = night.usecase.sources[found.place]
    with scratch() as folder:
        path = folder / "object"
        if source.mlflow:
            trace(source, night, path, _key(night, found.place))
        elif source.sql:
            query(source, night.night, path, _key(night, found.place))
        else:
            with disk(folder):
                buckets.fetch(found.shown, path)
        yield path


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with disk(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(night: Night, source: Source, place: int) -> list[Found]:
    """Files of a path on this machine, in the first place that has any."""
    searched = places.searched(night, source.path)
    for path in searched:
        files = _listed(path)
        if files is not None:
            return [Found(places.shown(file), file.name, place, digest(file), str(file)) for file in files]
    if source.url:
        file = _download(night, source, place, searched)
        return [Found(places.shown(file), file.name, place, digest(file), str(file))]
    raise UserError(
        f"{_key(night, place)}.path {source.path!r} was found nowhere. Searched: {', '.join(map(str, searched))}. Put the data in one "
        f"of these places, add a folder to data_folders in the profile, or give the source a url"
    )


def _listed(path: Path) -> list[Path] | None:
    """The files that a path, a folder or a glob stands for; None where there is nothing."""
    with disk(path):
        if path.is_file():
            return [path]
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.is_file() and _counts(file.name))
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    return [file for file in matches if file.is_file() and _counts(file.name)] or None


def _counts(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not name.upper().startswith("README")


def _key(night: Night, place: int) -> str:
    return f"{night.usecase.folder}/usecase.yaml: sources[{place}]"


def _check(night: Night, source: Source, place: int, files: list[Found]) -> None:
    if len(files) != 1:
        raise UserError(f"{_key(night, place)}.sha256 is the checksum of one file, but {source.path!r} stands for {len(files)} files")
    found = files[0].mark
    if not files[0].path:
        with local(night, files[0]) as path:
            found = digest(path)
    if found != source.sha256.lower():
        raise UserError(
            f"{files[0].shown} has the SHA-256 {found}, but {_key(night, place)}.sha256 expects {source.sha256}: "
            f"this is another file than the one that was pinned; replace the file, or correct the checksum"
        )


def _download(night: Night, source: Source, place: int, searched: list[Path]) -> Path:
    """The file of a URL, fetched once; it appears under its name only when it is whole and its checksum right."""
    import requests

    folder = Path(night.profile.state, "downloads", hashlib.sha256(source.url.encode()).hexdigest()[:16])
    path = folder / (Path(source.url.split("?")[0]).name or "download")
    with disk(folder):
        if path.is_file() and source.sha256.lower() in ("", digest(path)):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with scratch(".part-", folder) as draft, requests.get(source.url, stream=True, timeout=60) as answer:
                part = draft / path.name
                answer.raise_for_status()
                with part.open("wb") as out:
                    for chunk in answer.iter_content(CHUNK):
                        out.write(chunk)
                if source.sha256:
                    _check(night, source, place, [Found(source.url, path.name, place, digest(part), str(part))])
                part.replace(path)
        except requests.RequestException as error:
            tried = ", ".join(map(str, searched))
            raise UserError(
                f"{_key(night, place)}.path {source.path!r} is in none of {tried}, and its url could not be fetched: {error}. "
                f"Put the file in one of these places, or add a folder to data_folders in the profile"
            ) from None
    return path
