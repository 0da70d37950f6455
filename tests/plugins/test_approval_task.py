"""The task `approve`: an answer from the UI, one that came with the run, and none."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.foundation import ledger
from pipelines.foundation.step import open_night
from pipelines.release.promote import promote
from pipelines.settings import load_usecase
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


class Run(NamedTuple):
    """What the task reads of its run."""

    triggering_user_name: str | None


@pytest.mark.parametrize(
    ("chosen", "user", "reason", "approved", "why"),
    [
        ("Approve", "bob", "figures hold", True, "approved"),
        ("Approve", "ann", "figures hold", False, "four_eyes: ann triggered the run"),
        ("Reject", "bob", "too many flips", False, "rejected by bob"),
        ("Reject", None, None, False, "nobody answered in time"),  # Airflow's default when the time is over
    ],
)
def test_what_comes_back_from_the_ui_is_in_the_ledger(
    house: House, chosen: str, user: str | None, reason: str | None, approved: bool, why: str
) -> None:
    from plugins.approval import Approve

    house(approval="required", four_eyes=True)
    night_with("PROMOTE", NIGHT)
    task = Approve(usecase=load_usecase("small"), given=("small", "local", NIGHT))
    answer = {
        "chosen_options": [chosen],
        "params_input": {"reason": reason} if reason else {},
        "responded_at": datetime(2026, 11, 21, 8, tzinfo=UTC),
        "responded_by_user": {"id": user, "name": user} if user else None,
    }
    found = task.execute_complete({"dag_run": Run("ann")}, answer)
    assert found["approved"] is approved and why in found["why"]
    body = ledger.entries(open_night("small", "local", NIGHT).lake)[-1].body
    assert (body["approver"], body["reason"], body["triggered_by"]) == (user or "", reason or "", "ann")
    assert body["at"] == "2026-11-21T08:00:00+00:00"
    assert promote("small", "local", NIGHT)["moved"] == ("champion" if approved else "none")
