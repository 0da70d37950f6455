"""The registry follows the verdict, on a real MLflow store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.foundation import ledger, registry
from pipelines.foundation.step import Night, open_night, step
from pipelines.monitoring.status import read_status, render
from pipelines.release.card import publish_card
from pipelines.release.promote import promote

House = Callable[..., Path]
METRIC = {
    "champion": 0.5,
    "candidate": 0.9,
    "difference": 0.4,
    "low": 0.3,
    "high": 0.5,
    "bound": 0.32,
    "visible": 0.1,
    "margin": 0.05,
    "n": 100,
    "clusters": 90,
    "verdict": "PASS",
}


def night_with(verdict: str, date: str) -> str:
    """Run small real steps that stand for the work before the registry; returns the candidate's key."""

    @step(code=1)
    def ingest(night: Night) -> dict:
        return {"read": 120, "accepted": 110, "quarantined": 10, "traffic": 0}

    @step(code=1)
    def split(night: Night) -> dict:
        return {"examples": 0, "train": 90, "test": 20, "groups": 100, "duplicates": 3}

    @step(code=1)
    def finetune(night: Night) -> dict:
        import mlflow

        client = registry.client(night)
        folder = Path(night.profile.state, "scratch")
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text("{}")
        with mlflow.start_run() as run:
            model = mlflow.initialize_logged_model(name="adapter")
            client.log_model_artifacts(model.model_id, str(folder))
            mlflow.finalize_logged_model(model.model_id, "READY")
        return {"adapter": f"models:/{model.model_id}", "model": night.key, "run_id": run.info.run_id, "rows": 90, "synthetic_rows": 4}

    @step(code=1, after="finetune")
    def evaluate(night: Night) -> dict:
        champion = registry.champion(night)
        return {"champion": {"key": champion.key, "version": champion.version}, "scores": 1, "metrics": {}, "model_calls": 40}

    @step(code=1, after="evaluate")
    def gate(night: Night) -> dict:
        return {"verdict": verdict, "metrics": {"accuracy": METRIC}, "reason": "better by 0.4"}

    for work in (ingest, split, finetune, evaluate, gate):
        work("small", "local", date)
    return open_night("small", "local", date).before("finetune")["model"]


def aliases(date: str) -> dict[str, str]:
    client = registry.client(open_night("small", "local", date))
    return {alias: str(version) for alias, version in client.get_registered_model("small").aliases.items()}


def test_only_promote_moves_the_champion(house: House) -> None:
    house()
    for date, verdict in (("2026-11-18", "PROMOTE"), ("2026-11-19", "REJECT"), ("2026-11-20", "PROMOTE")):
        night_with(verdict, date)
        result = promote("small", "local", date)
        assert result["verdict"] == verdict
        expected = {"2026-11-18": ("1", "1"), "2026-11-19": ("2", "1"), "2026-11-20": ("3", "3")}[date]
        assert (aliases(date)["candidate"], aliases(date)["champion"]) == expected
    entries = ledger.entries(open_night("small", "local", date).lake)
    assert [(entry.body["version"], entry.body["previous"]) for entry in entries if entry.kind == "promotion"] == [("1", None), ("3", "1")]


def test_a_repeated_night_compares_with_the_champion_that_stood_when_it_began(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-19")
    promote("small", "local", "2026-11-19")
    assert registry.champion(open_night("small", "local", "2026-11-19")).key == registry.BASE
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    assert registry.champion(open_night("small", "local", "2026-11-20")).version == "1"
    assert registry.champion(open_night("small", "local", "2026-11-21")).version == "2"


def test_a_killed_promotion_repeated_makes_no_second_version(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    opened = open_night("small", "local", "2026-11-20")
    promote("small", "local", "2026-11-20")
    opened.lake.replace("memo", [], step="promote", night="2026-11-20")  # as if it died before its result was stored
    assert promote("small", "local", "2026-11-20")["version"] == "1"
    assert ledger.verify(opened.lake) == 1


def test_the_adapter_of_the_champion_can_be_fetched(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    later = open_night("small", "local", "2026-11-21")
    folder = registry.adapter_folder(later, registry.champion(later))
    assert folder is not None and (folder / "adapter_config.json").read_text() == "{}"


def test_the_card_and_the_status_tell_the_same_story(house: House) -> None:
    house()
    key = night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    card = Path(publish_card("small", "local", "2026-11-20")["card"]).read_text()
    assert f"`{key}`" in card and "| accuracy | 0.500 | 0.900 | 0.400 | 0.320 | 0.050 | 0.100 | 100 | 90 | PASS |" in card
    status = read_status("small", "local")
    assert status["rows"] == {"read": 120, "accepted": 110, "quarantined": 10, "train": 90, "test": 20, "synthetic": 0}
    assert status["metrics"] == {"accuracy": {"champion": 0.5, "candidate": 0.9, "difference": 0.4, "low": 0.3, "high": 0.5}}
    assert (status["verdict"], status["champion_version"], status["model_calls"]) == ("PROMOTE", "1", 40)
    assert "accuracy" in render("small", status) and "+0.400" in render("small", status)


def test_status_without_a_night_says_how_to_run_one(house: House) -> None:
    from pipelines.errors import UserError

    house()
    with pytest.raises(UserError, match="make nightly USECASE=small"):
        read_status("small", "local")
