"""An Airflow of the tests' own, entered before anything imports airflow; its DAG folder holds two toy DAGs."""

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.settings import ROOT
from plugins import bootstrap

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

TOY = """
from airflow.sdk import DAG
from pipelines.errors import NightStopped
from pipelines.sections import UseCase
from plugins.defaults import NIGHT, PROFILE, shared
from plugins.steps import Step


def tell(usecase: str, profile: str, night: str) -> dict:
    return {"usecase": usecase, "profile": profile, "night": night}


def stop(usecase: str, profile: str, night: str) -> dict:
    raise NightStopped("config/usecases/toy/contract.yaml: min_rows: too few rows")


USECASE = UseCase(name="toy", description="A toy", sources=[{"path": "x"}], gate={"metrics": {}})
with DAG("toy", schedule="0 2 * * *", **shared(USECASE)):
    given = ("toy", PROFILE, NIGHT)
    Step(work=tell, given=given) >> Step(work=stop, given=given)
"""

ASKING = """
from airflow.sdk import DAG

from pipelines.sections import UseCase
from plugins.approval import Approve, form
from plugins.defaults import NIGHT, PROFILE, shared

GATE = {"metrics": {"accuracy": 0.05}}
USECASE = UseCase(name="small", description="Asks", sources=[{"path": "x"}], gate=GATE, approval="required", task={"answer": "label"})
with DAG("asking", schedule=None, **shared(USECASE, form(USECASE))):
    Approve(usecase=USECASE, given=("small", PROFILE, NIGHT))
"""


@cache
def enter() -> Path:
    """Set the environment once; returns the state folder."""
    state = Path(tempfile.mkdtemp(prefix="nightshift-tests-"))
    (state / "dags").mkdir()
    for name, text in (("toy", TOY), ("asking", ASKING)):
        (state / "dags" / f"{name}.py").write_text(text, encoding="utf-8")
    os.environ |= bootstrap.environment(state)
    os.environ |= {"AIRFLOW__CORE__DAGS_FOLDER": str(state / "dags"), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    return state


@cache
def prepare() -> None:
    """Create the database and the pools once."""
    enter()
    bootstrap.prepare()


def dag_bag(folder: Path = ROOT / "dags") -> "DagBag":
    """The DAGs of a folder, read now."""
    enter()
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(folder))


def serialised(bag: "DagBag") -> "DagBag":
    """The same, written to the database, where a run of a DAG outside the tests' own folder is looked for."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    return bag
