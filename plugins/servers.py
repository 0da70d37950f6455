"""Starts and stops our servers on this machine: `python -m plugins.servers up|down|status` (`make up`, `make down`).

Airflow as four processes, MLflow, and the model endpoint, each on 127.0.0.1 with a file in `.nightshift/run` and a log
in `.nightshift/logs`. Not `airflow standalone`: that opens log servers on all interfaces. `down` ends what `up`
started, by process id and start time, and nothing else.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.sections import Profile
from pipelines.settings import ROOT, default_profile, load_profile, load_usecase
from plugins import bootstrap

PATIENCE_SECONDS = 180  # a busy laptop needs 60
GRACE_SECONDS = 20  # between asking a process to end and ending it


class Server(NamedTuple):
    """One process; a server without a port answers for itself in Airflow's health page."""

    name: str
    module: list[str]  # arguments of `python -m`
    port: int = 0
    setting: str = ""  # the make variable that changes the port
    health: str = ""  # path that answers 200


class Started(NamedTuple):
    """A process that `up` started; its start time tells it from a later process with the same id."""

    pid: int
    created: float
    port: int


def table(usecase: str, profile: Profile, ports: dict[str, int]) -> list[Server]:
    """What `up` starts, in this order."""
    airflow, mlflow, endpoint = ports["AIRFLOW_PORT"], ports["MLFLOW_PORT"], ports["ENDPOINT_PORT"]
    store = ["--backend-store-uri", profile.mlflow]
    if profile.artifacts:
        store += ["--default-artifact-root", profile.artifacts]
    served = ["pipelines", "endpoint", "--usecase", usecase, "--port", str(endpoint)]
    own = [
        Server(
            "api-server",
            ["airflow", "api-server", "--host", "127.0.0.1", "--port", str(airflow)],
            airflow,
            "AIRFLOW_PORT",
            "/api/v2/version",
        ),
        Server("scheduler", ["airflow", "scheduler", "--skip-serve-logs"]),
        Server("dag-processor", ["airflow", "dag-processor"]),
        Server("triggerer", ["airflow", "triggerer", "--skip-serve-logs"]),
        Server("endpoint", served, endpoint, "ENDPOINT_PORT", "/health"),
    ]
    if "://" in profile.mlflow and not profile.mlflow.startswith("sqlite:"):
        return own  # the profile names a server that somebody else runs
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow), "--workers", "1", *store]
    return [*own, Server("mlflow", command, mlflow, "MLFLOW_PORT", "/health")]


def up(usecase: str, profile_name: str, ports: dict[str, int]) -> None:
    """Start what does not run yet and wait until all of it answers; raises UserError that names what stands in the way."""
    load_usecase(usecase)
    profile = load_profile(profile_name)
    state = bootstrap.enter(profile_name)
    address = f"http://127.0.0.1:{ports['AIRFLOW_PORT']}"
    os.environ |= {
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "NIGHTSHIFT_PROFILE": profile_name,
    }
    servers = table(usecase, profile, ports)
    missing = [server for server in servers if not alive(state, server.name)]
    for server in missing:
        _check_port(server)
    if missing:
        bootstrap.prepare()
        print(f"starting {', '.join(server.name for server in missing)}", flush=True)
    for server in missing:
        _start(state, server)
    _wait(state, servers, address)
    print(f"\n  Airflow         {address}\n  Model endpoint  http://127.0.0.1:{ports['ENDPOINT_PORT']}/v1  (the champion of {usecase})")
    if servers[-1].name == "mlflow":
        print(f"  MLflow          http://127.0.0.1:{ports['MLFLOW_PORT']}")
    print(f"\n  `make trigger` runs a night there, `make down` ends all of it. Logs: {state / 'logs'}")


def down(state: Path) -> None:
    """End what `up` started, the scheduler first, and wait for it."""
    import psutil

    files = sorted((state / "run").glob("*.json"), key=lambda path: path.stem != "scheduler")
    asked = [(path, process) for path in files if (process := _process(path))]
    for _, process in asked:
        process.terminate()
    children = {path: process.children(recursive=True) for path, process in asked if process.is_running()}
    _, left = psutil.wait_procs([process for _, process in asked], timeout=GRACE_SECONDS)
    for process in [*left, *(child for found in children.values() for child in found if child.is_running())]:
        process.kill()
    for path in files:
        path.unlink()
    print(f"ended {', '.join(path.stem for path, _ in asked)}" if asked else "nothing of ours was running")


def alive(state: Path, name: str) -> Started | None:
    """The process of this name that `up` started, if it runs."""
    path = state / "run" / f"{name}.json"
    return Started(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() and _process(path) else None


def _process(path: Path) -> "psutil.Process | None":  # noqa: F821
    import psutil

    started = Started(**json.loads(path.read_text(encoding="utf-8")))
    try:
        process = psutil.Process(started.pid)
        same = abs(process.create_time() - started.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def _check_port(server: Server) -> None:
    if not server.port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", server.port))
        except OSError as error:
            raise UserError(
                f"port {server.port} of 127.0.0.1, which {server.name} needs, is taken ({error.strerror}): "
                f"`make up {server.setting}={server.port + 1000}` takes another one"
            ) from None


def _start(state: Path, server: Server) -> None:
    import psutil

    for folder in ("run", "logs"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    with (state / "logs" / f"{server.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *server.module],
            cwd=ROOT,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # seven more processes, 2 GB
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Started(process.pid, psutil.Process(process.pid).create_time(), server.port)
    (state / "run" / f"{server.name}.json").write_text(json.dumps(started._asdict()), encoding="utf-8")


def _wait(state: Path, servers: list[Server], address: str) -> None:
    """Until every port answers and Airflow calls its own parts healthy."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = [server.name for server in servers]
    while waiting:
        for server in servers:
            if server.name not in waiting:
                continue
            if not alive(state, server.name):
                raise UserError(
                    f"{server.name} ended at once; the last lines of {state / 'logs' / server.name}.log:\n{_tail(state, server.name)}"
                )
            if _healthy(server, address):
                waiting.remove(server.name)
                print(f"  {server.name} is up", flush=True)
        if time.monotonic() > deadline:
            raise UserError(
                f"{', '.join(waiting)} did not answer within {PATIENCE_SECONDS} s; see the logs in {state / 'logs'}, then `make down`"
            )
        time.sleep(0.5)


def _healthy(server: Server, address: str) -> bool:
    url = f"http://127.0.0.1:{server.port}{server.health}" if server.port else f"{address}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            body = response.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
    return bool(server.port) or json.loads(body)[server.name.replace("-", "_")]["status"] == "healthy"


def _tail(state: Path, name: str) -> str:
    return "\n".join((state / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 a mistake that the message explains."""
    parser = argparse.ArgumentParser(prog="python -m plugins.servers", description="The servers of this project on this machine.")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--usecase", default="support", help="whose champion the endpoint serves")
    parser.add_argument("--profile", default=default_profile(), help="a file under config/profiles")
    for setting, port in (("AIRFLOW_PORT", 8080), ("MLFLOW_PORT", 5000), ("ENDPOINT_PORT", 8100)):
        parser.add_argument("--" + setting.lower().replace("_", "-"), dest=setting, type=int, default=port)
    options = parser.parse_args(arguments)
    try:
        if options.command == "down":
            down(Path(load_profile(options.profile).state))
        else:
            up(options.usecase, options.profile, {name: port for name, port in vars(options).items() if name.endswith("_PORT")})
    except UserError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
