"""The rules of the house for DAGs; each failure names the offender and the cure."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from pipelines.foundation.step import ORDER
from pipelines.settings import usecases
from plugins.defaults import POOLS
from tests.airflow_home import dag_bag

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

House = Callable[..., Path]


@pytest.fixture(scope="module")
def bag() -> "DagBag":
    with warnings.catch_warnings():
        # An old import path is a FutureWarning, a removed argument a DeprecationWarning: both surface as import errors.
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        return dag_bag()


def test_every_file_imports_without_a_deprecated_name(bag: "DagBag") -> None:
    assert bag.import_errors == {}


FAMILIES = ("nightly", "drift", "calibrate", "rollback", "housekeeping", "erasure")


def test_one_folder_is_one_dag_of_each_family(bag: "DagBag") -> None:
    assert sorted(bag.dags) == sorted(f"{family}__{name}" for family in FAMILIES for name in usecases())


def test_the_nightly_runs_the_steps_in_their_order(bag: "DagBag") -> None:
    tasks = bag.dags["nightly__support"].task_dict
    assert list(tasks) == ["turn", *(name for name in ORDER if name != "drift")]
    for before, after in zip(list(tasks), list(tasks)[1:], strict=False):
        assert tasks[before].downstream_task_ids == {after}, (
            f"{before} must be followed by {after} alone: see chain(...) in dags/nightly.py"
        )


def test_every_dag_has_a_manual_an_owner_and_tags(bag: "DagBag") -> None:
    for name, dag in bag.dags.items():
        assert dag.doc_md and dag.doc_md.startswith("# "), f"{name}: pass doc_md=__doc__, and begin the docstring with `# Title`"
        assert dag.owner not in ("", "airflow"), f"{name}: owner comes from usecase.yaml through shared(usecase)"
        assert {name.split("__")[0], name.split("__")[1]} <= dag.tags, f"{name}: tags are the family and the use case"
        assert dag.max_active_runs == 1 and not dag.catchup, f"{name}: make it with **shared(usecase)"


def test_every_task_retries_ends_and_alerts(bag: "DagBag") -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            where = f"{task.task_id} in {dag.dag_id}: make the DAG with **shared(usecase)"
            assert task.retries >= 1 and task.retry_policy is not None, where
            assert task.execution_timeout or task.response_timeout, where
            assert task.on_failure_callback, where


def test_an_approval_stands_between_the_gate_and_the_promotion_where_one_is_required(house: House) -> None:
    house(approval="required", approval_hours=3)
    tasks = dag_bag().dags["nightly__small"].task_dict
    assert tasks["gate"].downstream_task_ids == {"approve"} and tasks["approve"].downstream_task_ids == {"promote"}
    assert tasks["approve"].response_timeout.total_seconds() == 3 * 3600 and tasks["approve"].defaults == ["Reject"]
    assert tasks["promote"].trigger_rule == "all_success"


def test_every_pool_is_made_by_the_bootstrap(bag: "DagBag") -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert task.pool in {*POOLS, "default_pool"}, (
                f"{task.task_id}: a task in an unknown pool never starts; add {task.pool} to POOLS"
            )


def test_every_dag_survives_serialisation(bag: "DagBag") -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in bag.dags.values():
        again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        assert {task.task_id for task in again.tasks} == set(dag.task_dict)


def test_a_wrong_setting_is_an_import_error_and_spares_the_other_use_cases(house: House) -> None:
    house()
    broken = house(name="broken") / "usecases/broken/usecase.yaml"
    broken.write_text(yaml.safe_dump(yaml.safe_load(broken.read_text()) | {"sorces": []}))
    found = dag_bag()
    assert set(found.dags) == {f"{family}__small" for family in FAMILIES}
    [message] = found.import_errors.values()
    assert f"{broken}: sorces: there is no such setting" in message
