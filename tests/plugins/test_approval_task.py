"""The task `approve` under `dag.test()`: what comes with the run is an answer, and nobody is waited for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.foundation import ledger
from pipelines.foundation.step import open_night
from pipelines.release.promote import promote
from tests.airflow_home import dag_bag, enter, prepare
from tests.release.candidates import night_with

House = Callable[..., Path]
NIGHT = "2026-11-20"


def asked(house: House, verdict: str, four_eyes: bool = False, **conf: str) -> dict | None:
    """What the task returned on a night with this verdict."""
    house(approval="required", four_eyes=four_eyes)
    night_with(verdict, NIGHT)
    prepare()
    run = dag_bag(enter() / "dags").dags["asking"].test(run_conf={"night": NIGHT, "profile": "local"} | conf)
    assert run.state == "success"
    return run.get_task_instance("approve").xcom_pull(task_ids="approve")


def test_an_answer_that_came_with_the_run_is_whoever_triggered_its_own(house: House) -> None:
    assert asked(house, "PROMOTE", approval="Approve")["approved"]
    entry = ledger.entries(open_night("small", "local", NIGHT).lake)[-1]
    assert (entry.kind, entry.body["approver"], entry.body["triggered_by"]) == ("approval", "dag_test", "dag_test")
    assert entry.body["reason"] == "given with the run" and entry.body["at"]
    assert promote("small", "local", NIGHT)["moved"] == "champion"


@pytest.mark.parametrize(
    ("answer", "four_eyes", "why"),
    [
        ("Reject", False, "rejected by dag_test"),
        ("unattended", False, "nobody was asked"),
        ("Approve", True, "four_eyes: dag_test triggered"),
    ],
)
def test_every_other_answer_promotes_nothing(house: House, answer: str, four_eyes: bool, why: str) -> None:
    found = asked(house, "PROMOTE", four_eyes, approval=answer)
    assert not found["approved"] and why in found["why"]
    assert promote("small", "local", NIGHT)["moved"] == "none"


def test_a_verdict_that_moves_nothing_asks_nobody(house: House) -> None:
    assert asked(house, "REJECT") is None
