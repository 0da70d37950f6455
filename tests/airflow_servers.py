"""The real Airflow in a folder of its own, as `make up` starts it, without what a night does not need.

API server, scheduler and DAG processor, on free ports of 127.0.0.1; no triggerer, MLflow server or endpoint. It sees one
use case: a copy of `support` with other settings. A warm scheduler has the heavy libraries imported, so that its tasks, which
are forks of it, do not import them twelve times a night: on two busy cores a night of the smallest model takes 17 s, not 120.

    with Airflow(folder, {"tuning.max_rows": 48}) as airflow:
        found = airflow.run("plugins.backfill", "--usecase", "support", "--from", "2026-11-01", "--to", "2026-11-03")
"""

import importlib
import os
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import yaml

from pipelines.settings import ROOT
from plugins import bootstrap, servers
from plugins.trigger import Api

NEEDED = ("api-server", "scheduler", "dag-processor")
READ_OFTEN = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5"}  # of a DAG file: it also tells the schedule's next run
LIBRARIES = (
    *("pandas", "pyarrow.compute", "deltalake", "torch", "transformers", "peft", "safetensors.torch", "great_expectations"),
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "presidio_analyzer"),
    *("sklearn.linear_model", "scipy.stats", "matplotlib", "jsonschema", "requests"),
)
USECASE = "support"
DAG = f"/api/v2/dags/nightly__{USECASE}"


class Airflow:
    """From `with` to its end; what it wrote stays in the folder."""

    def __init__(self, root: Path, changes: dict[str, object], warm: bool = False) -> None:
        """`changes`: dotted keys of usecase.yaml and their new values, None removes one."""
        self.state, self.warm = root / "state", warm
        configure(root / "config", changes)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "NIGHTSHIFT", "PYTEST"))}
        own = {"NIGHTSHIFT_CONFIG": str(root / "config"), "NIGHTSHIFT_STATE": str(self.state)}
        self.environment = clean | bootstrap.environment(self.state) | own | (READ_OFTEN if warm else {})

    def __enter__(self) -> Self:
        found = self.run("tests.airflow_servers", str(self.port), *(["warm"] if self.warm else []))
        if found.returncode:
            self.__exit__(None, None, None)
            raise RuntimeError(found.stdout + found.stderr)
        self.api = Api(self.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.run("plugins.servers", "down")

    def start(self, *module: str) -> subprocess.Popen[str]:
        """`python -m` with these arguments, in its environment."""
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, "-m", *module], env=self.environment, cwd=ROOT, **out)

    def run(self, *module: str) -> subprocess.CompletedProcess[str]:
        """The same to its end."""
        return subprocess.run([sys.executable, "-m", *module], env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)

    def runs(self) -> list[dict]:
        """The nightly's runs as the REST API tells them, by logical date."""
        return self.api.call("GET", f"{DAG}/dagRuns?order_by=logical_date&limit=100")["dag_runs"]

    def log(self, run_id: str, task: str, attempt: int) -> str:
        """What one try of a task said."""
        path = f"{DAG}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/logs/{attempt}?full_content=true"
        return "\n".join(str(line["event"]) for line in self.api.call("GET", path)["content"])


def configure(folder: Path, changes: dict[str, object]) -> None:
    """The configuration folder: the profile `local`, and the use case with its changes."""
    shutil.copytree(ROOT / "config" / "profiles", folder / "profiles")
    shutil.copytree(ROOT / "config" / "usecases" / USECASE, folder / "usecases" / USECASE)
    path = folder / "usecases" / USECASE / "usecase.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        section, (*places, name) = settings, key.split(".")
        for place in places:
            section = section.setdefault(place, {})
        section[name] = value
        if value is None:
            del section[name]
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")


def up(port: int, warm: bool) -> None:
    """Start what is needed in this environment, and wait for it."""
    from pipelines.settings import load_profile

    state, address = bootstrap.enter("local"), f"http://127.0.0.1:{port}"
    os.environ |= {"AIRFLOW__API__BASE_URL": address, "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/"}
    bootstrap.prepare()
    ports = {"AIRFLOW_PORT": port, "MLFLOW_PORT": 0, "ENDPOINT_PORT": 0}
    needed = [server for server in servers.table(USECASE, load_profile("local"), ports) if server.name in NEEDED]
    for server in needed:
        servers._start(state, server._replace(module=["tests.airflow_servers", *server.module]) if warm else server)
    servers._wait(state, needed, address)


def imported(*arguments: str) -> None:
    """A part of Airflow in this process, the scheduler with LIBRARIES."""
    for name in LIBRARIES if "scheduler" in arguments else ():
        importlib.import_module(name)
    sys.argv = list(arguments)
    runpy.run_module("airflow", run_name="__main__")


if __name__ == "__main__":
    imported(*sys.argv[1:]) if sys.argv[1] == "airflow" else up(int(sys.argv[1]), "warm" in sys.argv)
