"""Dataset inputs: what MLflow is told of the rows that a run was given."""

import json
from collections.abc import Callable
from pathlib import Path

from pipelines.foundation import datasets, registry
from pipelines.foundation.datasets import Given
from pipelines.foundation.step import open_night

House = Callable[..., Path]
NIGHT = "2026-11-20"
ROWS = [
    {"example_id": f"e{n}", "group_id": f"g{n % 2}", "label": "red", "night": NIGHT, "source": "traffic", "prompt": "secret"}
    for n in range(4)
]


def test_the_digest_depends_on_the_rows_and_on_nothing_else() -> None:
    assert datasets.digest(ROWS) == datasets.digest(ROWS[::-1]) != datasets.digest(ROWS[1:]) and len(datasets.digest(ROWS)) <= 36


def test_inputs_are_read_back_with_counts_and_without_texts_and_logged_once(house: House, tmp_path: Path) -> None:
    house()
    (tmp_path / "state").mkdir()
    night = open_night("small", "local", NIGHT)
    client = registry.client(night)
    run = client.create_run(client.get_experiment_by_name("small").experiment_id).info.run_id
    client.set_terminated(run)  # as `evaluate` finds the run of a training
    for _ in range(2):
        datasets.log_inputs(night, run, "training", [Given("train.examples", "examples", 7, ROWS), Given("none", "synthetic", 1, [])])
    [given] = client.get_run(run).inputs.dataset_inputs
    found = given.dataset
    assert (found.name, found.digest, found.source_type) == ("small.train.examples", datasets.digest(ROWS), "delta_table")
    assert json.loads(found.source) == {"path": f"{night.lake.root}/examples", "delta_table_version": 7}
    counts = {"rows": 4, "groups": 2, "labels": 1, "sources": {"traffic": 4}, "nights": [NIGHT, NIGHT]}
    assert json.loads(found.profile) == counts and "secret" not in str(given.to_dictionary())
    assert {"name": "prompt", "type": "string", "required": False} in json.loads(found.schema)["mlflow_colspec"]
