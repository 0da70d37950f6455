"""Makes an Airflow of this project's own, without a question: environment, database, pools.

`python -m plugins.bootstrap` prepares it; `python -m plugins.bootstrap airflow dags list` prepares it and runs any
Airflow command in it. Whatever the environment sets already wins, so that a container or a cluster can decide otherwise.
"""

import hashlib
import os
import secrets
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from pipelines.settings import ROOT, default_profile, load_profile


def environment(state: Path) -> dict[str, str]:
    """The variables that Airflow, MLflow and the model libraries run under, with the folder that holds all state."""
    home = state / "airflow"
    return {
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(home),
        # Under load the scheduler writes for longer than SQLite's 5 s: a backfill is then made by half, and runs are lost.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",  # forked workers: memory, not speed
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # everything listens on loopback only
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "60",
        "DO_NOT_TRACK": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait do not spin: on a busy machine a training step then costs a third
        "TOKENIZERS_PARALLELISM": "false",  # tasks are forks
    }


def enter(profile: str) -> Path:
    """Set the environment of this process; must come before the first import of airflow. Returns the state folder."""
    state = Path(load_profile(profile).state)
    for name, value in environment(state).items():
        os.environ.setdefault(name, value)
    return state


def prepare() -> None:
    """Create or migrate the database and the pools, unless this version of Airflow has done so here before (then 0 s, not 3)."""
    from airflow.configuration import conf

    address = conf.get("database", "sql_alchemy_conn")
    stamp = (
        Path(os.environ["AIRFLOW_HOME"]) / f"prepared-{version('apache-airflow-core')}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    )
    lost = address.startswith("sqlite:///") and not Path(address.removeprefix("sqlite:///").partition("?")[0]).exists()
    if stamp.exists() and not lost:
        return
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    from plugins.defaults import POOLS

    initdb()
    for name, (slots, description) in POOLS.items():
        Pool.create_or_update_pool(name, slots, description, include_deferred=False)
    stamp.touch()


def _secret(path: Path) -> str:
    """The secret that Airflow signs its tokens with, written once and readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32), encoding="ascii")
    return path.read_text(encoding="ascii")


def main(arguments: list[str]) -> int:
    """Prepare, then run the command, if one is given; returns its exit code."""
    enter(default_profile())
    prepare()
    if not arguments:
        return 0
    name, *rest = arguments
    command = [sys.executable, "-m", "airflow", *rest] if name == "airflow" else arguments
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
