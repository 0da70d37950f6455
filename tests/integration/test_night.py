"""The whole night through Airflow, on the real embedded model, for a use case that is nothing but one new folder."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.settings import ROOT

House = Callable[..., Path]
NIGHT = "2026-11-20"
ASK = {
    "opening_hours": "when do you open|when does the branch close|are you open on {}|opening hours on {} please|is the office open on {}",
    "lost_key": "i lost my key on {}|my key is gone since {}|cannot find my locker key|my key was stolen on {}|the key broke on {}",
}
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
PREFIX = ("", "hello, ", "hi there: ", "good morning, ", "quick question, ")


def traffic() -> str:
    """A day of a small locker rental, with three rows that must end in quarantine, as semicolon CSV."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow(["message", "topic"])
    for label, forms in ASK.items():
        for form in forms.split("|"):
            writer.writerows([prefix + form.format(day), label] for prefix, day in zip(PREFIX, DAYS, strict=False))
    writer.writerows([["", "lost_key"], ["where are you", "location"], ["one field too many", "lost_key", "x"]])
    return out.getvalue()


@pytest.fixture
def third(house: House, tmp_path: Path) -> dict[str, str]:
    """Environment of a house with one new folder `third` and its own Airflow."""
    house(
        files={f"traffic/{NIGHT}.csv": traffic(), "prompts/system.txt": "Name the topic."},
        name="third",
        sources=[{"path": "traffic", "columns": {"text": "message", "label": "topic"}}],
        contract={"labels": sorted(ASK), "min_rows": 20},
        split={"group_by": "row", "test_share": 0.3, "near_duplicate": 0.95},
        task={"system": "system.txt", "answer": "label", "max_new_tokens": 8},
        tuning={"epochs": 3, "batch_rows": 8, "rank": 8, "frozen_layers": 20, "learning_rate": 0.002},
        gate={"metrics": {"accuracy": 0.3}, "min_items": 5},
    )
    own = {"AIRFLOW_HOME": str(tmp_path / "state/airflow"), "PYTHONPATH": str(ROOT)}
    return {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | own


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)


def status(environment: dict[str, str]) -> dict:
    found = run(environment, "pipelines", "status", "--usecase", "third", "--json")
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_a_new_folder_is_a_new_night(third: dict[str, str], tmp_path: Path) -> None:
    night = ("plugins.run_night", "--usecase", "third", "--night", NIGHT)
    first = run(third, *night)
    assert first.returncode == 0, first.stdout + first.stderr
    found = status(third)
    assert found["rows"]["read"] == 53
    assert found["rows"]["quarantined"] == 3
    assert found["rows"]["train"] > 20 and found["rows"]["test"] >= 5
    assert set(found["seconds"]) == {
        *("ingest", "validate", "scrub", "split", "synthesize", "finetune"),
        *("admit", "evaluate", "safety", "gate", "promote", "publish_card", "drift"),
    }
    assert found["verdict"] in ("PROMOTE", "REJECT", "INSUFFICIENT_DATA")
    assert found["metrics"]["accuracy"]["candidate"] >= 0.7 >= found["metrics"]["accuracy"]["low"]
    for name in ("model_card.md", "decision.html"):
        assert (tmp_path / "state/reports/third" / NIGHT / name).is_file()
    verified = run(third, "pipelines", "ledger", "verify", "--usecase", "third")
    assert verified.returncode == 0 and "entries hold" in verified.stdout
    second = run(third, *night)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "nothing to do" in second.stdout + second.stderr
    assert status(third)["model_calls"] == found["model_calls"]


def test_a_wrong_setting_is_one_message_and_no_traceback(third: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "config/usecases/third/contract.yaml"
    path.write_text(path.read_text().replace("min_rows: 20", "min_rows: 2000"))
    found = run(third, "plugins.run_night", "--usecase", "third", "--night", NIGHT)
    assert found.returncode == 1
    assert "validate failed" in found.stderr and "min_rows" in found.stderr
    assert "Traceback" not in found.stdout + found.stderr
