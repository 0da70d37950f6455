"""The traces of an MLflow experiment are traffic: who asked what, in which session, and what was answered."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.data.ingest import ingest
from pipelines.errors import UserError
from pipelines.foundation.step import open_night

NOON = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
MESSAGES = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "where is it"}]}
CHOICES = {"choices": [{"message": {"role": "assistant", "content": "on its way"}}]}


@pytest.fixture
def write(house: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`write(request, response, at, tags, metadata)` puts a trace into the experiment `helpdesk`, at once."""
    import mlflow
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    house(sources=[{"mlflow": "helpdesk"}])
    before, uri = mlflow.get_tracking_uri(), open_night("small", "local", "2026-11-20").profile.mlflow
    mlflow.set_tracking_uri(uri)
    mlflow.tracing.reset()
    client = MlflowClient(uri)
    experiment = client.create_experiment("helpdesk")

    def one(request: object, response: object, at: datetime.datetime = NOON, tags: dict | None = None, about: dict | None = None) -> None:
        start = int(at.timestamp() * 1e9)
        root = client.start_trace("chat", inputs=request, tags=tags, experiment_id=experiment, start_time_ns=start)
        for name, value in (about or {}).items():
            client.set_trace_tag(root.trace_id, name, value)
        client.end_trace(root.trace_id, outputs=response, end_time_ns=start + 1)

    yield one
    mlflow.set_tracking_uri(before)
    mlflow.tracing.reset()


def taken(night: str = "2026-11-20") -> list[dict]:
    ingest("small", "local", night)
    lake = open_night("small", "local", night).lake
    return lake.read("traffic", lake.version("traffic"), where=f"night = '{night}'").to_pylist()


def test_requests_and_responses_of_every_shape_become_text_and_reply(write: Callable[..., None]) -> None:
    write(MESSAGES, CHOICES, tags={"label": "red", "channel": "app"}, about={"mlflow.trace.session": "s-1", "mlflow.trace.user": "u-1"})
    write({"question": "how much"}, "two", tags={"label": "blue"})
    write("just words", {"answer": "yes"}, tags={"label": "blue"})
    write({"a": 1, "b": 2}, None, tags={"label": "blue"})
    found = {one["text"]: one for one in taken()}
    assert {text: one["reply"] for text, one in found.items()} == {
        "where is it": "on its way", "how much": "two", "just words": "yes", '{"a": 1, "b": 2}': None,
    }  # fmt: skip
    first = found["where is it"]
    assert (first["conversation_id"], first["subject_id"], first["created_at"], first["label"]) == ("s-1", "u-1", NOON, "red")
    assert '"channel": "app"' in first["attributes"] and first["source"] == "mlflow:helpdesk"


def test_each_night_takes_its_own_traces_once(write: Callable[..., None]) -> None:
    for days in range(3):
        write(f"day {days}", "ok", NOON - datetime.timedelta(days=days), {"label": "red"})
    assert [one["text"] for one in taken("2026-11-19")] == ["day 1"]
    assert [one["text"] for one in taken("2026-11-20")] == ["day 0"]
    assert ingest("small", "local", "2026-11-20")["memo"]


def test_an_experiment_that_is_not_there_is_named(house: Callable[..., Path]) -> None:
    house(sources=[{"mlflow": "nobody"}])
    with pytest.raises(UserError, match=r"sources\[0\].mlflow: there is no experiment 'nobody'"):
        ingest("small", "local", "2026-11-20")
