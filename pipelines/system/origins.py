"""Take a person's rows out of what they were read from: files, objects on S3, traces of MLflow. What cannot be is told."""

from pathlib import Path

from pipelines.data.reading import originals, sources
from pipelines.foundation import registry
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night
from pipelines.system.person import Person

TRACE, TRACES = "tr-", 100  # how MLflow's ids of traces begin, and how many it deletes at once


def take_out(night: Night, found: Person) -> tuple[list[dict], list[str], dict[str, str]]:
    """Take the rows out of the sources; returns what was done, what could not be, and each old SHA-256 with its new one."""
    done, left, now = [], [], {}
    wanted = dict(found.places)
    for file in sources.find(night) if wanted else ():
        source = night.usecase.sources[file.place]
        if source.mlflow:
            done.append({"file": file.shown, "rows": _traces(night, source.mlflow, found)})
            continue
        if source.sql:
            left.append(f"{file.shown}: the rows came from a query: remove them from the database; they will not be read again")
            continue
        with sources.local(night, file) as path:
            sha = sources.digest(path)
            if sha not in wanted:
                continue
            lines = wanted.pop(sha)
            if source.sha256:
                left.append(f"{file.shown}: {len(lines)} rows stay in a file whose checksum the use case pins; they will not be read again")
                continue
            with scratch() as folder:
                draft = folder / "file"
                try:
                    rows = originals.without(path, file.name, lines, draft)
                except ValueError as error:
                    left.append(f"{file.shown}: not written anew ({error})")
                    continue
                now[sha] = _exchange(night, file, sha, draft)
            done.append({"file": file.shown, "rows": rows})
    files = {row["file"] for row in night.lake.read("files", night.lake.version("files"), ["file", "origin"]).to_pylist() if _is_file(row)}
    left += [f"the file {sha[:12]} is not among the sources any more: {len(lines)} rows" for sha, lines in wanted.items() if sha in files]
    return done, left, now


def _is_file(row: dict) -> bool:
    return not (row["origin"] or "").startswith(("mlflow:", "sql:"))


def _traces(night: Night, experiment: str, found: Person) -> int:
    """Delete the MLflow traces that the rows were; returns their number."""
    client = registry.client(night)
    known = client.get_experiment_by_name(experiment)
    traces = [row for row in found.rows if row.startswith(TRACE)]
    parts = [traces[start : start + TRACES] for start in range(0, len(traces), TRACES)] if known else []
    return sum(client.delete_traces(known.experiment_id, trace_ids=part) for part in parts)


def _exchange(night: Night, file: sources.Found, sha: str, draft: Path) -> str:
    """Put the new file in place; returns its SHA-256. Meanwhile ingest knows both, so that neither is taken for a new one."""
    new = sources.digest(draft)
    marks = night.lake.read("files", night.lake.version("files"), where=f"file = '{sha}'").to_pylist()
    night.lake.append("files", [mark | {"file": new, "bytes": draft.stat().st_size} for mark in marks])
    originals.put(file, draft)
    for table in ("traffic", "clean", "quarantine"):
        night.lake.update(table, f"file = '{sha}'", file=new)
    night.lake.delete("files", f"file = '{sha}'")
    return new
