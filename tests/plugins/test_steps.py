"""A step as a task: it waits for a provider without a worker, says where its result is from, and the run's note says it again."""

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk.exceptions import TaskDeferred

from pipelines.errors import UserError, Waiting
from pipelines.settings import load_profile
from plugins import notes, waiting
from plugins.steps import Step, origin
from tests.airflow_home import dag_bag, enter, prepare
from tests.batching_server import KEY_ENV, BatchServer, Fault, once

House = Callable[..., Path]
NIGHT = "2026-11-20"
GIVEN = ("small", "local", NIGHT)
BATCHES = [{"endpoint": "large", "batch": "batch_0"}]
LATER = "2999-01-01T00:00:00+00:00"
WAITS = '''
from airflow.sdk import DAG

from pipelines.errors import UserError, Waiting
from pipelines.foundation import batches
from pipelines.foundation.messages import Call, Request
from pipelines.foundation.numbered import Numbered
from pipelines.sections import UseCase
from pipelines.settings import load_profile
from plugins.defaults import NIGHT, PROFILE, shared
from plugins.steps import Step


def synthesize(usecase: str, profile: str, night: str) -> dict:
    """Two questions through a batch, each asked once, however often this runs."""
    found = load_profile(profile)
    endpoint, store = found.endpoints["large"], Numbered(f"{found.lake}/batches")
    calls = [Call(f"{night}-{n}", Request("", f"question {n}", 8)) for n in range(2)]
    batch = batches.submit(endpoint, store, calls)
    answers = batches.collect(endpoint, store, batch)
    if answers is None:
        raise Waiting(f"synthesize waits for {batch.id}", [{"endpoint": "large", "batch": batch.id}])
    replies = sorted(answered.reply.text for answered in answers)
    batches.close(store, batch)
    return {"step": "synthesize", "memo": False, "model_calls": 2, "spent": "0.0125", "replies": replies}


def gate(usecase: str, profile: str, night: str) -> dict:
    return {"step": "gate", "memo": True, "model_calls": 40, "spent": "9.99", "verdict": "PROMOTE"}


def stop(usecase: str, profile: str, night: str) -> dict:
    raise UserError("config/usecases/small/usecase.yaml: wrong")


USECASE = UseCase(name="small", description="Waits", sources=[{"path": "x"}], gate={"metrics": {}})
with DAG("waits", schedule=None, **shared(USECASE)):
    given = ("small", PROFILE, NIGHT)
    Step(work=synthesize, given=given) >> Step(work=gate, given=given)
with DAG("breaks", schedule=None, **shared(USECASE)):
    Step(work=gate, given=given) >> Step(work=stop, given=given)
'''


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_POLL", 0.01)
    monkeypatch.setattr(waiting, "LONGEST_POLL", 0.02)


def ran(dag: str) -> "DagRun":  # noqa: F821
    """A run of one of the DAGs above, as Airflow drives it."""
    (enter() / "dags" / "waits.py").write_text(WAITS, encoding="utf-8")
    prepare()
    return dag_bag(enter() / "dags").dags[dag].test(run_conf={"night": NIGHT, "profile": "local"})


def stored_note(run: "DagRun") -> str | None:  # noqa: F821
    """The note as another process reads it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.get(DagRun, run.id).note


def test_a_task_waits_in_the_trigger_and_then_goes_on(house: House) -> None:
    with BatchServer(polls=1) as server:
        house(profile={"endpoints": {"large": server.settings()}})
        run = ran("waits")
        assert run.state == "success"
        done = run.get_task_instance("synthesize").xcom_pull(task_ids="synthesize")
        assert done["replies"] == ["re: question 0", "re: question 1"] and server.count("POST batches") == 1
        assert server.count("GET batch") == 5  # by the task once before and once after it was deferred, by the trigger three times
        assert sum(server.billed.values()) == 1
    assert stored_note(run) == "Nightshift: 1 of 2 steps from the memo, 2 model calls, $0.01; verdict PROMOTE"


def test_a_run_that_failed_has_a_note_too_and_a_users_mistake_is_not_tried_again(house: House) -> None:
    house()
    run = ran("breaks")
    stopped = run.get_task_instance("stop")
    assert (run.state, stopped.state, stopped.try_number, stopped.max_tries) == ("failed", "failed", 1, 2)
    assert stored_note(run) == "Nightshift: 1 of 1 steps from the memo, 0 model calls, $0.00; verdict PROMOTE"


def wait(*given: str) -> dict:
    """A step whose work is with a provider."""
    raise Waiting("wait waits for batch_0", BATCHES)


def test_a_step_that_waits_is_deferred_with_nothing_but_text(house: House) -> None:
    house(profile={"endpoints": {"large": {"kind": "openai", "url": "http://127.0.0.1:9/v1", "model": "m", "batch_hours": 2}}})
    with pytest.raises(TaskDeferred) as deferred:
        Step(work=wait, given=GIVEN).execute({})
    path, kwargs = deferred.value.trigger.serialize()
    assert (path, deferred.value.method_name) == ("plugins.waiting.BatchDone", "resume")
    assert (kwargs["profile"], kwargs["batches"]) == ("local", BATCHES)
    patience = datetime.datetime.fromisoformat(kwargs["until"]) - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(hours=2.99) < patience < datetime.timedelta(hours=3)


def test_a_batch_that_was_given_up_fails_the_step_and_another_one_is_waited_for(house: House) -> None:
    house(profile={"endpoints": {"large": {"kind": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"}}})
    with pytest.raises(UserError, match="the key is wrong"):
        Step(work=wait, given=GIVEN).resume({}, {"left": ["batch_0"], "why": "the key is wrong"})
    with pytest.raises(TaskDeferred):
        Step(work=wait, given=GIVEN).resume({}, {"left": ["batch_7"], "why": ""})


def event_of(until: str = LATER) -> dict:
    """What the trigger tells the task."""

    async def first() -> dict:
        return (await anext(waiting.BatchDone("local", BATCHES, until).run())).payload

    return asyncio.run(first())


def a_batch(house: House, server: BatchServer, **settings: object) -> None:
    house(profile={"endpoints": {"large": server.settings(**settings)}})
    server.create({"input_file_id": server.keep(b"")["id"]})


def test_the_trigger_is_patient_with_a_provider_that_is_away(house: House) -> None:
    with BatchServer(polls=0, fault=once("GET batch", Fault(status=503), 4)) as server:
        a_batch(house, server)
        assert event_of() == {"left": [], "why": ""} and server.count("GET batch") == 5


def test_the_trigger_gives_up_after_the_window_and_at_once_without_a_key(house: House) -> None:
    with BatchServer(polls=9) as server:
        a_batch(house, server)
        given_up = event_of("2026-11-20T00:00:00+00:00")
        assert given_up["left"] == ["batch_0"] and "batch_0: validating" in given_up["why"]
        a_batch(house, server, key_env=KEY_ENV)
        assert KEY_ENV in event_of()["why"]


def test_a_triggerer_with_a_wrong_key_hands_the_question_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, "sk-wrong")
    with BatchServer(polls=0, key="sk-right") as server:
        a_batch(house, server)
        told = event_of()
    assert told["left"] == ["batch_0"] and "HTTP 401" in told["why"] and "sk-wrong" not in told["why"]


def test_a_deadline_is_that_of_the_slowest_endpoint(house: House) -> None:
    house(profile={"endpoints": {"large": {"batch_hours": 1}, "small": {"batch_hours": 5}}})
    assert load_profile("local").endpoints["small"].batch_hours == 5
    until = datetime.datetime.fromisoformat(waiting.deadline("local", [*BATCHES, {"endpoint": "small", "batch": "b"}]))
    assert until - datetime.datetime.now(datetime.UTC) > datetime.timedelta(hours=5.9)


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ({"step": "gate", "memo": True, "spent": "3"}, "memo hit: gate stands on the result that the same inputs gave before"),
        (
            {"step": "gate", "memo": False, "model_calls": 2, "reused_calls": 5, "spent": "0.5"},
            "2 model calls, 5 replies from the memo, $0.5",
        ),
        ({"step": "gate", "memo": False, "partial": {"timeout": 3}}, "partial: {'timeout': 3}"),
        ({"version": "3"}, "done"),
    ],
)
def test_the_log_says_where_a_result_is_from(result: dict, line: str) -> None:
    assert line in origin(result)


@pytest.mark.parametrize(
    ("results", "line"),
    [
        ({"a": {"memo": True, "spent": "5"}}, "1 of 1 steps from the memo, 0 model calls, $0.00"),
        (
            {"a": {"memo": False, "model_calls": 7, "reused_calls": 3, "spent": "0.0004"}, "b": {"memo": False, "spent": "never"}},
            "0 of 2 steps from the memo, 7 model calls, 3 replies from the memo, $0.0004",
        ),
        (
            {"a": {"memo": False, "spent": "12.345", "partial": {"over_budget": 1}}},
            "0 of 1 steps from the memo, 0 model calls, $12.34; partial: a",
        ),
    ],
)
def test_a_note_counts_what_this_run_did(results: dict[str, dict], line: str) -> None:
    assert notes.summary(results) == line


def test_a_persons_note_stays_in_front_of_ours(house: House) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    house()
    run = ran("breaks")
    ours = stored_note(run)
    with create_session() as session:
        session.get(DagRun, run.id).dag_run_note.content = f"after the fix\n\n{ours}"
    with create_session() as session:
        notes.attach(session.get(DagRun, run.id))
    assert stored_note(run) == f"after the fix\n\n{ours}"
