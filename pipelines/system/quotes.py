"""Where a person is quoted outside the tables: reports, logs, and what MLflow keeps of the runs.

A report that quotes the person is replaced by a notice; in a log, which another process may be writing, the bytes are
crossed out where they stand. Texts are compared as a reader sees them: HTML and JSON escapes undone, spaces folded.
"""

import html
import logging
import re
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.foundation import registry
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night

if TYPE_CHECKING:
    from mlflow import MlflowClient

TEXTS = (".html", ".md", ".json", ".jsonl", ".txt", ".csv", ".yaml", ".log")
SHORTEST = 24  # letters of a text that is looked for: a shorter one is said by many
LONGEST = 80  # letters of it that are compared: a page may cut it
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\\\"/nrtbf]))")
SPACES = dict.fromkeys("nrtbf", " ")
NOTICE = "Removed: this page quoted a person whose data was erased (erasure {erasure}). What it reported stands in the ledger."
log = logging.getLogger("pipelines.erase")


class Quotes:
    """What to look for."""

    def __init__(self, subject: str, examples: Collection[str], texts: Collection[str]) -> None:
        """A subject id that is a short number, and short texts, are everybody's: they are not looked for."""
        self.searched = len(subject) >= 4 and not (subject.isdigit() and len(subject) < 6)
        marks = [_word(subject)] if self.searched else []
        marks += [_word(example) for example in examples]
        folded = {_seen(text)[:LONGEST] for text in texts}
        marks += [re.escape(text) for text in sorted(folded) if len(text) >= SHORTEST]
        self._pattern = re.compile("|".join(marks)) if marks else None
        raw = {text[:LONGEST].encode() for text in texts if len(text) >= SHORTEST} | ({subject.encode()} if self.searched else set())
        self._raw = re.compile(b"|".join(rb"(?<![\w-])" + re.escape(text) + rb"(?![\w-])" for text in sorted(raw))) if raw else None

    def inside(self, content: bytes) -> bool:
        """Whether a page or a report quotes the person."""
        return self._pattern is not None and self._pattern.search(_seen(content.decode("utf-8", "replace"))) is not None

    def places(self, content: bytes) -> Iterator[tuple[int, int]]:
        """(start, end) of each mention in raw bytes."""
        yield from (match.span() for match in self._raw.finditer(content)) if self._raw else ()


def withdraw(folder: Path, quotes: Quotes, erasure: str) -> list[str]:
    """Replace the reports under a folder that quote the person by a notice; returns their paths in the folder."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in TEXTS):
        if quotes.inside(path.read_bytes()):
            path.write_text(_notice(path.suffix, erasure), encoding="utf-8")
            found.append(str(path.relative_to(folder)))
    return found


def cross_out(folder: Path, quotes: Quotes) -> list[str]:
    """Cross the person's texts out in the logs under a folder, in place; returns the logs' paths in the folder."""
    found = []
    for path in sorted(path for path in folder.rglob("*.log") if path.is_file()):
        with path.open("r+b") as stream:
            spans = list(quotes.places(stream.read()))
            for start, end in spans:
                stream.seek(start)
                stream.write(b"x" * (end - start))
        if spans:
            found.append(str(path.relative_to(folder)))
    return found


def withdraw_artifacts(night: Night, quotes: Quotes, erasure: str) -> list[str]:
    """The same for what MLflow keeps of the use case: artifacts of its runs, and descriptions of its versions."""
    client, name = registry.client(night), night.usecase.name
    experiment = client.get_experiment_by_name(name)
    found = []
    token: str | None = ""
    while token is not None:
        runs = client.search_runs([experiment.experiment_id], max_results=500, page_token=token or None)
        for run in runs:
            for path in _texts(client, run.info.run_id):
                if _replaced(client, run.info.run_id, path, quotes, erasure):
                    found.append(f"{run.info.run_id}/{path}")
        token = runs.token or None
    for version in client.search_model_versions(f"name = '{name}'"):
        if quotes.inside((version.description or "").encode()):
            client.update_model_version(name, version.version, description=NOTICE.format(erasure=erasure))
            found.append(f"description of version {version.version}")
    _vacuum(night.profile.mlflow)
    return found


def _texts(client: "MlflowClient", run: str, folder: str = "") -> Iterator[str]:
    for entry in client.list_artifacts(run, folder or None):
        if entry.is_dir:
            yield from _texts(client, run, entry.path)
        elif Path(entry.path).suffix in TEXTS:
            yield entry.path


def _replaced(client: "MlflowClient", run: str, path: str, quotes: Quotes, erasure: str) -> bool:
    with scratch() as folder:
        local = Path(client.download_artifacts(run, path, str(folder)))
        if not quotes.inside(local.read_bytes()):
            return False
        local.write_text(_notice(local.suffix, erasure), encoding="utf-8")
        client.log_artifact(run, str(local), str(Path(path).parent) if "/" in path else None)
    return True


def _vacuum(uri: str) -> None:
    """SQLite keeps what was overwritten in free pages until the file is written anew."""
    if not uri.startswith("sqlite:///"):
        return
    with sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=60) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _notice(suffix: str, erasure: str) -> str:
    text = NOTICE.format(erasure=erasure)
    return f"<!doctype html><meta charset=utf-8><title>Removed</title><p>{html.escape(text)}" if suffix == ".html" else text + "\n"


def _seen(text: str) -> str:
    """A text as a reader sees it, whatever it was escaped for."""
    for _ in range(3):  # JSON within JSON within HTML
        text = ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else SPACES.get(match[2], match[2]), html.unescape(text))
    return " ".join(text.split())


def _word(text: str) -> str:
    return rf"(?<![\w-]){re.escape(text)}(?![\w-])"
