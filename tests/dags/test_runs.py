"""What Airflow makes of a run: which night it works on, and what is not tried again."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.data.ingest import ingest
from pipelines.errors import NightStopped, UserError
from pipelines.foundation.step import open_night
from pipelines.system.erase import request
from plugins.defaults import POLICY, night_of
from tests.airflow_home import dag_bag, enter, prepare, serialised

MOMENT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
House = Callable[..., Path]


class Run(NamedTuple):
    """The three things that a DAG run may know about time."""

    logical_date: datetime | None
    run_after: datetime
    partition_key: str | None = None


@pytest.mark.parametrize(
    ("run", "params", "night"),
    [
        pytest.param(Run(MOMENT, MOMENT), {"night": None}, "2026-11-20", id="scheduled at 02:00 on the 21st"),
        pytest.param(Run(datetime(2026, 11, 3, 2, tzinfo=UTC), MOMENT), {}, "2026-11-02", id="backfill of the 3rd"),
        pytest.param(Run(None, MOMENT), {"night": ""}, "2026-11-20", id="manual without a date"),
        pytest.param(Run(MOMENT, MOMENT), {"night": "2026-11-07"}, "2026-11-07", id="the form wins"),
        pytest.param(Run(None, MOMENT, "2026-11-05T02:00:00"), {}, "2026-11-04", id="partition"),
        pytest.param(Run(None, datetime.fromisoformat("2026-11-21T01:00:00+03:00")), {}, "2026-11-19", id="the day is UTC's"),
    ],
)
def test_the_night_is_what_the_form_says_or_the_day_before(run: Run, params: dict, night: str) -> None:
    assert night_of(run, params) == night


def test_a_night_that_is_no_date_is_refused() -> None:
    with pytest.raises(UserError, match="YYYY-MM-DD"):
        night_of(Run(None, MOMENT), {"night": "yesterday"})


def test_only_a_users_mistake_is_final() -> None:
    decide = [POLICY.evaluate(error, 1, 2).action.value for error in (UserError("x"), NightStopped("x"), KeyError("x"))]
    assert decide == ["fail", "fail", "default"]


def test_airflow_renders_the_night_and_does_not_retry_a_stopped_night(house: House) -> None:
    house()
    prepare()
    run = dag_bag(enter() / "dags").dags["toy"].test(logical_date=MOMENT, run_conf={"profile": "local"})
    told, stopped = (run.get_task_instance(name) for name in ("tell", "stop"))
    assert told.xcom_pull(task_ids="tell") == {"usecase": "toy", "profile": "local", "night": "2026-11-20"}
    assert (run.state, stopped.state, stopped.try_number, stopped.max_tries) == ("failed", "failed", 1, 2)


def test_a_profile_that_does_not_exist_is_refused_by_the_form(house: House) -> None:
    from airflow.sdk.exceptions import AirflowException

    house()
    prepare()
    with pytest.raises((ValueError, AirflowException), match="nowhere"):
        dag_bag(enter() / "dags").dags["toy"].test(run_conf={"profile": "nowhere"})


def test_the_erasure_dag_works_off_the_requests_and_starts_no_night_where_none_is_needed(house: House) -> None:
    columns = {"row_id": "id", "subject_id": "who", "text": "text", "label": "label"}
    rows = [{"id": who, "who": who, "text": f"{who} asks for a colour", "label": "red"} for who in ("anna-4711", "ben-4712")]
    house(sources=[{"path": "sample", "columns": columns}], files={"sample/2026-11-20.jsonl": "\n".join(map(json.dumps, rows))})
    ingest("small", "local", "2026-11-20")
    request("small", "local", "anna-4711")
    prepare()
    bag = serialised(dag_bag())
    run = bag.dags["erasure__small"].test(logical_date=MOMENT, run_conf={"profile": "local"})
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert states == {"erase_requested": "success", "retrain_needed": "success", "retrain": "skipped"}
    told = run.get_task_instance("erase_requested").xcom_pull(task_ids="erase_requested")
    assert len(told["done"]) == 1 and "anna-4711" not in json.dumps(told)
    lake = open_night("small", "local", "2026-11-20").lake
    assert lake.read("traffic", lake.version("traffic"), ["subject_id"])["subject_id"].to_pylist() == ["ben-4712"]
