"""Airflow's own backfill on its real scheduler: nights in order, each on its own day, and nothing paid twice.

The sample's first nights with a Llama of two layers in the place of the embedded model.
"""

import datetime
import re
import time
from collections import Counter
from collections.abc import Iterator
from subprocess import CompletedProcess
from urllib.parse import quote

import pytest

from pipelines.foundation import ledger
from pipelines.foundation.lake import Lake
from pipelines.settings import ROOT
from tests import tiny
from tests.airflow_servers import DAG, USECASE, Airflow

NIGHTS = ("2026-10-31", "2026-11-01", "2026-11-02")
STEPS = 12
SMALL = {
    "synthesis": None,
    "safety": None,
    "evaluation": {"max_items": 40},
    "task.max_new_tokens": 24,
    "split.test_share": 0.3,
    "tuning": {"epochs": 4, "learning_rate": 0.01, "rank": 16, "alpha": 32, "batch_rows": 8},
    # A model that knows nothing writes better each night; the gate is to see it on so few rows.
    "gate": {"metrics": {"rouge_l": 0.9}, "alpha": 0.49, "min_items": 5, "slice_margin": 1.0},
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    root = tmp_path_factory.mktemp("backfill")
    tiny.build(root / "state" / "models", tiny.texts(ROOT / "config" / "usecases" / USECASE / "sample"))
    with Airflow(root, SMALL, warm=True) as started:
        yield started


@pytest.fixture(scope="module")
def first(airflow: Airflow) -> CompletedProcess[str]:
    """The backfill, followed to its end."""
    return backfill(airflow)


def backfill(airflow: Airflow) -> CompletedProcess[str]:
    return airflow.run("plugins.backfill", "--usecase", USECASE, "--from", NIGHTS[0], "--to", NIGHTS[-1])


def lake(airflow: Airflow) -> Lake:
    return Lake(f"{airflow.state}/lake/{USECASE}")


def nights(airflow: Airflow) -> list[dict]:
    """The runs of these nights, in their order."""
    dates = {(datetime.date.fromisoformat(night) + datetime.timedelta(days=1)).isoformat() for night in NIGHTS}
    return [run for run in airflow.runs() if run["logical_date"] and run["logical_date"][:10] in dates]


def paid(airflow: Airflow) -> dict[str, int | None]:
    """What grows when a model is asked, a model is trained, or something is decided."""
    tables = {name: lake(airflow).version(name) for name in ("predictions", "judgements", "scores", "calls")}
    return tables | {"decisions": len(ledger.entries(lake(airflow)))}


def test_the_nights_run_one_after_another_in_order(airflow: Airflow, first: CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    runs = nights(airflow)
    assert [run["run_type"] for run in runs] == ["backfill"] * len(NIGHTS)
    assert all(before["end_date"] <= after["start_date"] for before, after in zip(runs, runs[1:], strict=False))
    told = re.findall(r"^(\S+)  success .* ([0-9]+) model calls, 0 of 12 steps from the memo", first.stdout, re.MULTILINE)
    assert [night for night, _ in told] == list(NIGHTS) and all(int(calls) > 0 for _, calls in told)


def test_each_night_works_on_its_own_day(airflow: Airflow, first: CompletedProcess[str]) -> None:
    for table in ("traffic", "clean", "examples"):
        rows = lake(airflow).read(table, lake(airflow).version(table), ["night", "day"]).to_pylist()
        count = Counter((row["night"], row["day"]) for row in rows)
        assert sorted(count) == [(night, night) for night in NIGHTS], table


def test_the_champion_moves_in_the_order_of_the_nights(airflow: Airflow, first: CompletedProcess[str]) -> None:
    moved = [entry for entry in ledger.entries(lake(airflow)) if entry.kind == "promotion"]
    assert len(moved) >= 2 and [entry.night for entry in moved] == sorted({entry.night for entry in moved})
    assert [entry.body["previous"] for entry in moved] == [None, *(entry.body["version"] for entry in moved[:-1])]


def test_the_night_that_the_schedule_starts_meanwhile_waits_for_its_turn(airflow: Airflow, first: CompletedProcess[str]) -> None:
    [other] = [run for run in airflow.runs() if run["run_type"] == "scheduled"]  # of last night: Airflow sees that one is due
    path = f"{DAG}/dagRuns/{quote(other['dag_run_id'])}"
    began = [task["start_date"] for task in airflow.api.call("GET", f"{path}/taskInstances?task_id=ingest")["task_instances"]]
    airflow.api.call("PATCH", path, {"state": "failed"})
    assert all(start is None or start >= nights(airflow)[-1]["end_date"] for start in began)
    assert "works on an earlier night" in airflow.log(other["dag_run_id"], "turn", 1)


def test_a_cleared_task_stands_on_what_was_paid_for(airflow: Airflow, first: CompletedProcess[str]) -> None:
    run, before = nights(airflow)[-1], paid(airflow)
    about = {"task_ids": ["evaluate"], "dag_run_id": run["dag_run_id"], "include_downstream": True, "only_failed": False}
    airflow.api.call("POST", f"{DAG}/clearTaskInstances", about | {"dry_run": False, "reset_dag_runs": True})
    deadline = time.monotonic() + 120
    while (ended := nights(airflow)[-1])["state"] not in ("success", "failed") and time.monotonic() < deadline:
        time.sleep(1)
    assert ended["state"] == "success"
    assert "memo hit: evaluate" in airflow.log(run["dag_run_id"], "evaluate", 2)
    assert paid(airflow) == before
    assert "5 of 12 steps from the memo, 0 model calls" in ended["note"]


def test_the_same_backfill_again_asks_no_model(airflow: Airflow, first: CompletedProcess[str]) -> None:
    assert "0 of 12 steps from the memo" in nights(airflow)[0]["note"]
    before = paid(airflow)
    again = backfill(airflow)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count(" 0 model calls, 12 of 12 steps from the memo") == len(NIGHTS)
    assert paid(airflow) == before
    for run in nights(airflow):
        assert run["note"].startswith("Nightshift: 12 of 12 steps from the memo, 0 model calls, $0.00; verdict")
