"""Runs one night through Airflow in this process, no server needed: `python -m plugins.run_night --usecase support --night 2026-11-20`.

The nightly DAG, then the drift DAG. The runs and their logs are in Airflow's database and log folder, so that `make up`
shows them later. There are no retries: a person is watching, and a repeated night goes on where it stopped. Where our
own servers are up, the night is triggered there instead, because their scheduler would take up the same run.
"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError
from pipelines.release import approval
from pipelines.settings import load_usecase
from plugins import bootstrap, servers
from plugins.command import command
from plugins.progress import Progress, say

if TYPE_CHECKING:
    from airflow.sdk import DAG

# Airflow tells its own story in some 150 lines a night; a task's failure is told by Progress.
SILENT = ("task=CRITICAL", "plugins.notify=CRITICAL", "py.warnings=ERROR")
QUIET = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING", "AIRFLOW__LOGGING__NAMESPACE_LEVELS": " ".join(SILENT)}


class Ran(NamedTuple):
    """One DAG run that ended."""

    state: str
    results: dict[str, dict]  # by step, for the steps that succeeded


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 the run succeeded, 1 it failed, 2 a mistake that the message explains, 130 interrupted."""

    def interrupted() -> str:
        abandon()
        return "interrupted; the same command goes on where this stopped"

    return command("plugins.run_night", "One night through Airflow, in this process.", run, interrupted, arguments)


def run(usecase: str, profile: str, night: str) -> int:
    """The nightly and the drift DAG, their progress, and at the end where the night stands."""
    os.environ |= QUIET
    state = bootstrap.enter(profile)
    if servers.alive(state, "scheduler"):
        from plugins import trigger

        say("the servers are up: the night runs there")
        return trigger.run(usecase, profile, night)
    say(f"{usecase}, night {night}, profile {profile}: starting Airflow in this process")
    bootstrap.prepare()
    abandon()
    dags = _dags()
    conf = {"night": night, "profile": profile}
    if load_usecase(usecase).approval == "required":
        conf["approval"] = approval.UNATTENDED  # nobody can answer in this process
    with Progress(state / "logs" / "nightly.log") as progress:
        ran = {name: run_dag(dags[name], conf) for name in (f"nightly__{usecase}",)}
        if ran[f"nightly__{usecase}"].state == "success":
            ran[f"drift__{usecase}"] = run_dag(dags[f"drift__{usecase}"], conf)
    if any(found.state != "success" for found in ran.values()):
        return _explain(progress, usecase, night)
    _conclude(usecase, profile, night, ran)
    return 0


def run_dag(dag: "DAG", conf: dict[str, str]) -> Ran:
    """Run all tasks of one DAG in this process, one after another."""
    for task in dag.tasks:
        task.retries = 0
    run = dag.test(run_conf=conf)  # never logical_date=None: that deletes the earlier runs that have none
    done = [found for found in run.get_task_instances() if found.state == "success"]
    return Ran(str(run.state), {found.task_id: found.xcom_pull(task_ids=found.task_id) for found in done})


def abandon() -> None:
    """Close runs that an interrupted or killed process of this kind left open, so that no scheduler takes them up."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType

    with create_session() as session:
        left = session.query(DagRun).filter(DagRun.state == DagRunState.RUNNING, DagRun.triggered_by == DagRunTriggeredByType.TEST)
        for run in left:
            for found in run.get_task_instances(state=[TaskInstanceState.RUNNING, TaskInstanceState.QUEUED], session=session):
                found.state = TaskInstanceState.FAILED
            run.state = DagRunState.FAILED


def _dags() -> dict[str, "DAG"]:
    from airflow.configuration import conf
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(conf.get_mandatory_value("core", "dags_folder"))
    broken = {path: error for path, error in bag.import_errors.items() if "wrong_settings" not in path}
    if broken:
        raise UserError("\n".join(f"{path} cannot be imported:\n{error}" for path, error in broken.items()))
    return bag.dags


def _explain(progress: Progress, usecase: str, night: str) -> int:
    """What failed, why, and what to do; returns the exit code."""
    lines = [f"nightshift: {failure.step} failed: {failure.message}" for failure in progress.failures]
    lines += ["Mend that and run the same command again: the steps before it are not repeated.", f"The whole log: {progress.path}"]
    print("\n" + "\n".join(lines or [f"nightshift: the night {night} of {usecase} failed"]), file=sys.stderr)
    return 1


def _conclude(usecase: str, profile: str, night: str, ran: dict[str, Ran]) -> None:
    from pipelines.monitoring.status import read_status, render

    status = read_status(usecase, profile, night)
    results = {step: result for found in ran.values() for step, result in found.results.items() if result is not None}
    if all(result.get("memo", True) for result in results.values()):
        champion = f"version {status['champion_version']}" if status["champion_version"] else "the base model"
        say(f"nothing to do: the night {night} of {usecase} is complete (verdict {status['verdict']}, champion {champion})")
    print("\n" + render(usecase, status) + "\n")
    links = {
        "decision": ("publish_card", "decision"),
        "model card": ("publish_card", "card"),
        "drift report": ("drift", "report"),
        "data report": ("validate", "docs"),
    }
    for title, (step, key) in links.items():
        if link := results.get(step, {}).get(key):
            print(f"  {title:<14}{_short(link)}")
    if results.get("approve", {}) and not results["approve"]["approved"]:
        print("\n  A promotion waits for an approval, and nobody can be asked here:")
        print(f"  `make up`, then `make trigger USECASE={usecase} NIGHT={night}`.")
    print("\n  `make up` shows this night in the Airflow UI, the model in MLflow, and serves the champion.")


def _short(link: str) -> str:
    """A path relative to here where that is shorter."""
    path = Path(link)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else link


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    say(f"{'done' if code == 0 else 'stopped'} after {time.perf_counter() - started:.0f} s")
    sys.exit(code)
