"""A query's connection may stand in Airflow's database: the task lends it to the step, and no log shows its password."""

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.foundation.step import open_night
from plugins.connections import lend
from tests.airflow_home import dag_bag, enter, prepare

House = Callable[..., Path]
NIGHT = "2026-11-20"
MOMENT = datetime(2026, 11, 21, 2, tzinfo=UTC)
QUERY = "select id as row_id, said as text, colour as label, at as created_at from messages where at >= :night and at < :next order by id"
TAKES = """
from airflow.sdk import DAG

from pipelines.data import ingest
from pipelines.sections import UseCase
from plugins.defaults import NIGHT, PROFILE, shared
from plugins.steps import Step

USECASE = UseCase(name="small", description="Takes", sources=[{"path": "x"}], gate={"metrics": {}})
with DAG("takes", schedule=None, **shared(USECASE)):
    Step(work=ingest.ingest, given=("small", PROFILE, NIGHT))
"""


@pytest.fixture
def warehouse(tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of messages, and a use case that asks it through a connection."""
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE", raising=False)
    with sqlite3.connect(tmp_path / "messages.db") as database:
        database.execute("create table messages (id, said, colour, at)")
        rows = [(number, f"message {number}", "red", f"2026-11-{19 + number % 2}T10:00:00Z") for number in range(6)]
        database.executemany("insert into messages values (?, ?, ?, ?)", rows)
    house(sources=[{"sql": QUERY, "connection": "warehouse"}])


@pytest.mark.usefixtures("warehouse")
def test_a_step_reads_through_a_connection_of_airflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (enter() / "dags" / "takes.py").write_text(TAKES, encoding="utf-8")
    prepare()
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="warehouse", conn_type="sqlite", host=str(tmp_path / "messages.db")))
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        run = dag_bag(enter() / "dags").dags["takes"].test(logical_date=MOMENT, run_conf={"profile": "local"})
    assert run.state == "success"
    lake = open_night("small", "local", NIGHT).lake
    assert sorted(lake.read("traffic", lake.version("traffic"), ["row_id"])["row_id"].to_pylist()) == ["1", "3", "5"]


@pytest.mark.usefixtures("warehouse")
def test_a_connection_that_nobody_knows_is_left_to_the_step_to_name() -> None:
    prepare()
    lend("small")
    assert "AIRFLOW_CONN_WAREHOUSE" not in os.environ
