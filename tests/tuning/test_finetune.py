"""A training that was killed around its end: one run, one adapter, and no step done twice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.foundation import embedded, registry
from pipelines.foundation.step import Night, fingerprint, open_night
from pipelines.tuning.finetune import finetune
from tests.killing.house import model
from tests.release.nights import remember

House = Callable[..., Path]
NIGHT = "2026-11-20"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a model of two layers; making MLflow's database takes seconds."""
    folder = tmp_path_factory.mktemp("state")
    model(folder / "models" / embedded.NAME)
    return folder


@pytest.fixture
def night(house: House, state: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A night with six train rows and nothing of the training."""
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(state))
    house(tuning={"epochs": 2, "batch_rows": 2, "rank": 2})
    for name in ("lake", "artifacts"):
        shutil.rmtree(state / name, ignore_errors=True)
    opened = open_night("small", "local", NIGHT)
    rows = [{"example_id": f"e{n}", "prompt": f"it is {n}", "label": "red", "split": "train", "night": NIGHT} for n in range(6)]
    remember(opened, "split", {"examples": opened.lake.replace("examples", rows, night=NIGHT)}, fingerprint(str(house)))
    remember(opened, "synthesize", {"synthetic": None}, fingerprint(str(id(rows))))
    return opened


def again(night: Night) -> dict:
    """The training once more, as if it had died before its result was stored."""
    night.lake.replace("memo", [], step="finetune", night=NIGHT)
    return finetune("small", "local", NIGHT)


def models(night: Night, key: str) -> list[tuple[str, str]]:
    client = registry.client(night)
    [experiment] = client.search_experiments(filter_string="name = 'small'")
    found = client.search_logged_models([experiment.experiment_id], f"tags.`{registry.KEY_TAG}` = '{key}'")
    return [(f"models:/{one.model_id}", str(one.status)) for one in found]


def test_a_finished_training_whose_result_was_lost_is_not_done_again(night: Night) -> None:
    first = finetune("small", "local", NIGHT)
    found = again(night)
    same = {"seconds": 0, "trained": 0}  # the table of what was trained on has a new version with the same rows
    assert found | same == first | same
    assert models(night, first["model"]) == [(first["adapter"], "READY")]
    assert len(registry.client(night).get_metric_history(first["run_id"], "loss")) == first["steps"] == 6
    assert not (Path(night.profile.state) / "checkpoints" / "small" / first["model"]).exists()


def test_an_adapter_that_was_half_kept_is_kept_whole_under_its_id(night: Night) -> None:
    first = finetune("small", "local", NIGHT)
    client, model_id = registry.client(night), first["adapter"].removeprefix("models:/")
    client.finalize_logged_model(model_id, "FAILED")  # anything but READY
    folder = registry.adapter_folder(night, registry.Model("", None, first["adapter"]))
    (folder / "adapter_model.safetensors").unlink()
    assert again(night)["adapter"] == first["adapter"]
    assert models(night, first["model"]) == [(first["adapter"], "READY")]
    assert (folder / "adapter_model.safetensors").is_file()


def test_a_run_that_was_killed_before_its_settings_were_logged_gets_them(night: Night) -> None:
    client = registry.client(night)
    key = fingerprint("finetune", finetune.parts(night, night.before("synthesize")["key"]))
    [experiment] = client.search_experiments(filter_string="name = 'small'")
    left = client.create_run(experiment.experiment_id, tags={registry.KEY_TAG: key}).info.run_id
    assert finetune("small", "local", NIGHT)["run_id"] == left
    run = client.get_run(left)
    assert (run.info.status, run.data.params["rank"], run.data.metrics["steps"]) == ("FINISHED", "2", 6)


def test_the_run_names_the_rows_that_it_was_given_once_however_often_it_is_repeated(night: Night) -> None:
    found = finetune("small", "local", NIGHT)
    again(night)
    [given] = registry.client(night).get_run(found["run_id"]).inputs.dataset_inputs
    version = night.before("split")["examples"]
    assert json.loads(given.dataset.source) == {"path": f"{night.lake.root}/examples", "delta_table_version": version}
    assert given.dataset.name == "small.train.examples" and json.loads(given.dataset.profile)["rows"] == 6
    assert [tag.value for tag in given.tags] == ["training"]
