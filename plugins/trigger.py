"""Triggers a night in the Airflow that `make up` started, and follows it: `python -m plugins.trigger --usecase support --night 2026-11-20`.

Over Airflow's public REST API, as any other system would do it.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from pipelines.errors import UserError
from pipelines.settings import load_profile
from plugins import servers
from plugins.command import command
from plugins.progress import say

REGISTERED_SECONDS = 90  # a new DAG file is read within 15 s, later on a busy machine
OVER = ("success", "failed")


class Refused(UserError):
    """The server's own words, and its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The REST API of a server on this machine that makes everybody an admin."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._token = ""
        self._token = self.call("GET", "/auth/token")["access_token"]

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        """One request; raises Refused with the server's own words, UserError where no server answers."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise Refused(f"Airflow refused {method} {path}: {error.code} {said}", error.code) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise UserError(f"Airflow does not answer on {self._base} ({error}): `make up` starts it") from None


def run(usecase: str, profile: str, night: str) -> int:
    """The nightly DAG, then the drift DAG; returns the exit code, 0 when both succeeded."""
    from pipelines.monitoring.status import read_status, render

    state = Path(load_profile(profile).state)
    started = servers.alive(state, "api-server")
    if started is None:
        raise UserError("Airflow is not up: `make up` starts it (or `make nightly` runs the night without servers)")
    api = Api(started.port)
    conf = {"night": night, "profile": profile}
    for dag_id in (f"nightly__{usecase}", f"drift__{usecase}"):
        run_path = start(api, dag_id, conf)
        if follow(api, run_path) != "success":
            reasons = failures(api, run_path) or [f"{dag_id} failed"]
            print("\n".join(f"nightshift: {reason}" for reason in reasons), file=sys.stderr)
            print(f"More in the log: http://127.0.0.1:{started.port}/dags/{dag_id}", file=sys.stderr)
            return 1
        say(api.call("GET", run_path)["note"] or f"{dag_id}: done")  # what came from the memo, and what it cost
    print("\n" + render(usecase, read_status(usecase, profile, night)))
    return 0


def start(api: Api, dag_id: str, conf: dict[str, str]) -> str:
    """Unpause and trigger; returns the run's path in the API."""
    registered(api, dag_id)
    unpause(api, dag_id)
    run_id = api.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
    say(f"{dag_id}: triggered {run_id}")
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def failures(api: Api, path: str) -> list[str]:
    """What the alert said about each task that failed: the last line of its log that is an error."""
    found = []
    for task in api.call("GET", f"{path}/taskInstances")["task_instances"]:
        if task["state"] == "failed":
            lines = api.call("GET", f"{path}/taskInstances/{task['task_id']}/logs/{task['try_number']}?full_content=true")["content"]
            found += [line["event"] for line in lines if line.get("level") == "error"][-1:]
    return found


def follow(api: Api, path: str) -> str:
    """Say when a task of the run changes its state; returns the state in which the run ended."""
    shown: dict[str, str] = {}
    while True:
        state = api.call("GET", path)["state"]
        tasks = api.call("GET", f"{path}/taskInstances?order_by=start_date")["task_instances"]
        for task in tasks:
            if (
                task["state"] in ("running", "success", "failed", "up_for_retry", "awaiting_input", "deferred")
                and shown.get(task["task_id"]) != task["state"]
            ):
                shown[task["task_id"]] = task["state"]
                if task["state"] == "awaiting_input":
                    say("approve: a person must answer, in the Airflow UI under Required Actions")
                    continue
                say(
                    f"{task['task_id']}: {task['state']}"
                    + (f" in {task['duration']:.1f} s" if task["state"] in OVER and task["duration"] else "")
                )
        if state in OVER:
            say(f"the run ended: {state}")
            return state
        time.sleep(1)


def unpause(api: Api, dag_id: str) -> None:
    """A run of a paused DAG would wait for ever."""
    api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})


def registered(api: Api, dag_id: str) -> None:
    """Wait until Airflow knows a DAG that was just added; raises UserError where it does not in time."""
    deadline = time.monotonic() + REGISTERED_SECONDS
    while True:
        try:
            api.call("GET", f"/api/v2/dags/{dag_id}")
            return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 both runs succeeded, 1 one failed, 2 a mistake that the message explains."""
    about = "One night in the Airflow that `make up` started."
    return command("plugins.trigger", about, run, lambda: "no longer following; the run goes on in Airflow", arguments)


if __name__ == "__main__":
    sys.exit(main())
