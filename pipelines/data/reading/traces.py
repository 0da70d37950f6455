"""The traces of an MLflow experiment as a file: JSON lines with our columns, a page at a time.

request -> text, response -> reply, the session -> conversation_id, the user -> subject_id, the time of the request ->
created_at, the trace's id -> row_id, the tag `label` -> label; the other tags and the status stand beside them. A request
that is a list of messages is the last one of the user; of an object it is the value under a usual name, or the only text.
"""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.reading.disk import disk
from pipelines.errors import UserError
from pipelines.foundation.step import Night
from pipelines.sections import Source

if TYPE_CHECKING:
    from mlflow.entities import Trace

PAGE = 200  # traces, with their spans
ASKED = ("text", "question", "query", "input", "prompt", "message", "content", "request")
ANSWERED = ("reply", "answer", "response", "output", "content", "text", "message", "result")
SESSION, USER = "mlflow.trace.session", "mlflow.trace.user"


def trace(source: Source, night: Night, path: Path, key: str) -> None:
    """Write the night's traces to `path`, oldest first; raises UserError where there is no such experiment."""
    from mlflow.exceptions import MlflowException

    with disk(path), path.open("w", encoding="utf-8") as out:
        try:
            for found in _traces(source, night, key):
                out.write(json.dumps(_row(found), ensure_ascii=False) + "\n")
        except MlflowException as error:
            raise UserError(
                f"{key}.mlflow: the traces of {source.mlflow!r} could not be read from {night.profile.mlflow}: {error}"
            ) from None


def _traces(source: Source, night: Night, key: str) -> "Iterator[Trace]":
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=night.profile.mlflow)
    experiment = client.get_experiment_by_name(source.mlflow)
    if experiment is None:
        raise UserError(f"{key}.mlflow: there is no experiment {source.mlflow!r} at {night.profile.mlflow}: create it, or mend the name")
    start = datetime.datetime.combine(datetime.date.fromisoformat(night.night), datetime.time(), datetime.UTC)
    first, last = (int(at.timestamp() * 1000) for at in (start, start + datetime.timedelta(days=1)))
    token = None
    while True:
        page = client.search_traces(
            locations=[experiment.experiment_id],
            filter_string=f"attributes.timestamp_ms >= {first} AND attributes.timestamp_ms < {last}",
            order_by=["attributes.timestamp_ms ASC"],
            max_results=PAGE,
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _row(found: "Trace") -> dict[str, object]:
    info, about = found.info, found.info.trace_metadata
    tags = {name: value for name, value in sorted(info.tags.items()) if not name.startswith("mlflow.")}
    given = {
        "row_id": info.trace_id,
        "conversation_id": about.get(SESSION) or info.tags.get(SESSION),
        "subject_id": about.get(USER) or info.tags.get(USER),
        "created_at": info.request_time / 1000,
        "text": _said(found.data.request, ASKED),
        "label": tags.pop("label", None),
        "reply": _said(found.data.response, ANSWERED),
        "status": str(getattr(info.state, "value", info.state)),
    }
    return {name: value for name, value in tags.items() if name not in given} | given


def _said(text: str | None, names: tuple[str, ...]) -> str | None:
    """What a person or a model wrote, in a request or a response as JSON; the JSON itself where that cannot be told."""
    if not text:
        return None
    try:
        found = _inner(json.loads(text), names)
    except (ValueError, RecursionError):
        return text
    return text if found is None else found


def _inner(value: object, names: tuple[str, ...]) -> str | None:
    """The words within a value: itself, the last message, a part under a usual name, or the only part there is."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        roles = ("user",) if names is ASKED else ("assistant",)
        mine = [part for part in value if not isinstance(part, dict) or part.get("role") in (None, *roles)]
        return _inner(mine[-1], names) if mine else None
    if not isinstance(value, dict):
        return None
    for name in ("messages", "choices", *names):
        if name in value and (found := _inner(value[name], names)) is not None:
            return found
    return _inner(next(iter(value.values())), names) if len(value) == 1 else None
