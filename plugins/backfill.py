"""Fills a range of nights in the Airflow that `make up` started, oldest first, one at a time, and follows them.

    python -m plugins.backfill --usecase support --from 2026-11-07 --to 2026-11-20

`--from` and `--to` are nights, both included, as everywhere in this project. Airflow itself counts logical dates: the run
of 2026-11-21 02:00 works on the night of the 20th, and `airflow backfill create --to-date 2026-11-21`, which means
midnight, leaves that run out.

This is Airflow's own backfill, created over its REST API: one call to the server that is up, which refuses a second
backfill of the DAG at once; the command line would take seconds to start and write to the database past the server.
Nights that ran before run again: what has not changed comes from the memo, without a call to a model.
"""

import contextlib
import datetime
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from pipelines.errors import UserError
from pipelines.foundation.step import ORDER
from pipelines.settings import load_profile
from plugins import servers, trigger
from plugins.command import command
from plugins.trigger import OVER, Api, Refused

DAY = datetime.timedelta(days=1)
POLL_SECONDS = 2
MARKED_SECONDS = 120  # Airflow looks every 30 s which backfills have ended


class Range(NamedTuple):
    """Runs of one DAG by their logical dates, ISO 8601, both included."""

    dag_id: str
    since: str
    until: str


def run(usecase: str, profile: str, first: str, last: str) -> int:
    """Create the backfill, or take up the one that an interrupted command left, and follow it; returns the exit code.

    0: every night succeeded. Raises UserError where Airflow is not up or refuses, and for nights that are not over yet.
    """
    asked = reach(usecase, first, last)
    state = Path(load_profile(profile).state)
    started = servers.alive(state, "api-server")
    if started is None:
        raise UserError("Airflow is not up: `make up` starts it")
    api = Api(started.port)
    trigger.registered(api, asked.dag_id)
    dates = _dates(api, asked, first, last)
    number = _under_way(api, asked) or _create(api, asked, profile)
    trigger.unpause(api, asked.dag_id)  # now that its runs are there: the schedule would else begin last night's beside them
    reached = f"{night_of(dates[0])} to {night_of(dates[-1])}"
    print(f"backfill {number} of {asked.dag_id}: {len(dates)} nights, one after another, {reached}", flush=True)
    failed = follow(api, asked, dates, state)
    print(f"{len(dates) - len(failed)} of {len(dates)} nights succeeded" + (f"; failed: {', '.join(failed)}" if failed else ""))
    if failed:
        print(f"The logs: http://127.0.0.1:{started.port}/dags/{asked.dag_id}")
        print("The same command runs all of them again; what was done is not done twice.")
    return 1 if failed else 0


def reach(usecase: str, first: str, last: str) -> Range:
    """The runs of the nights: each on the day after it. Raises UserError where the range runs backwards."""
    if last < first:
        raise UserError(f"--from {first} is later than --to {last}: name the older night first")
    since, until = (datetime.date.fromisoformat(night) + DAY for night in (first, last))
    return Range(f"nightly__{usecase}", f"{since}T00:00:00Z", f"{until}T23:59:59Z")


def night_of(logical_date: str) -> str:
    """The night that the run of a logical date works on."""
    return (datetime.datetime.fromisoformat(logical_date).astimezone(datetime.UTC) - DAY).date().isoformat()


def follow(api: Api, asked: Range, dates: list[str], state: Path) -> list[str]:
    """Print a line for each night that ends, in their order; returns those that failed.

    Raises UserError where the scheduler, known by its file in the folder `state`, has ended, or a run was removed.
    """
    failed, said = [], ""
    for date in dates:
        while (run := _runs(api, asked).get(date, {})).get("state") not in OVER:
            if not run:
                raise UserError(f"the run of the night {night_of(date)} is gone: somebody removed it in Airflow")
            if not servers.alive(state, "scheduler"):
                raise UserError(f"Airflow's scheduler has ended, see {state / 'logs' / 'scheduler.log'}: `make up`, then the same command")
            waits = _waits(api, run)
            if waits and waits != said:
                print(f"{night_of(date)}  {waits}", flush=True)
            said = waits
            time.sleep(POLL_SECONDS)
        print(line(run, results(api, run)), flush=True)
        if run["state"] != "success":
            failed.append(night_of(date))
            print("\n".join(f"            {reason}" for reason in trigger.failures(api, _path(run))), flush=True)
    return failed


def line(run: dict, results: dict[str, dict]) -> str:
    """One night for people: the verdict, the champion after it, and what it took; `results` by step."""
    promoted, fresh = results.get("promote", {}), [found for found in results.values() if not found["memo"]]
    version = promoted.get("champion_version")
    verdict = results.get("gate", {}).get("verdict") or "no verdict"
    champion = "" if not promoted else f"champion: {f'version {version}' if version else 'the base model'}"
    calls = sum(found.get("model_calls", 0) for found in fresh)
    memo = f"{len(results) - len(fresh)} of {len(results)} steps from the memo"
    late = promoted.get("why", "")
    return (
        f"{night_of(run['logical_date'])}  {run['state']:<8} {verdict:<18} {champion:<25} {run['duration'] or 0:>5.0f} s  "
        f"{calls:>5} model calls, {memo}" + (f"; {late}" if late.startswith("a later night") else "")
    )


def _dates(api: Api, asked: Range, first: str, last: str) -> list[str]:
    """The logical dates that the schedule has for these nights; raises UserError where the last one has no run yet."""
    planned = [entry["logical_date"] for entry in api.call("POST", "/api/v2/backfills/dry_run", _body(asked))["backfills"]]
    dates = sorted({*planned, *_runs(api, asked)})  # Airflow does not plan what is under way
    yesterday = (datetime.datetime.now(datetime.UTC) - DAY).date().isoformat()
    if last > yesterday or not dates:
        raise UserError(
            f"{asked.dag_id} has no run yet for the nights {first} to {last}. These are nights, not logical dates: a night is worked "
            f"on by the run that its schedule starts on the day after, so {yesterday} is the last one that can be filled today"
        )
    return dates


def _under_way(api: Api, asked: Range) -> int | None:
    """The backfill of just these nights that is under way; raises UserError where another one is.

    One whose runs have all ended is none, but Airflow refuses the next until it has marked that one: it is waited for.
    """
    deadline = time.monotonic() + MARKED_SECONDS
    while True:
        found = _newest(api, asked.dag_id)
        if found is None or found["completed_at"]:
            return None
        other = Range(asked.dag_id, found["from_date"], found["to_date"])
        if any(run["state"] not in OVER for run in _runs(api, other).values()) or time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    if other == asked:
        return found["id"]
    nights = f"{night_of(other.since)} to {night_of(other.until)}"
    raise UserError(f"the backfill {found['id']} of {asked.dag_id} ({nights}) is under way: wait for it, or cancel it in the Airflow UI")


def _newest(api: Api, dag_id: str) -> dict | None:
    found = api.call("GET", f"/api/v2/backfills?dag_id={dag_id}&order_by=-id&limit=1")["backfills"]
    return found[0] if found else None


def _create(api: Api, asked: Range, profile: str) -> int:
    """The new backfill's number.

    On SQLite the server gives up where the scheduler writes for too long, and leaves the first part of the backfill: that is
    cancelled, and all of it asked for again.
    """
    deadline, begun = time.monotonic() + MARKED_SECONDS, False
    while True:
        try:
            return api.call("POST", "/api/v2/backfills", _body(asked) | {"dag_run_conf": {"profile": profile}})["id"]
        except Refused as refused:
            begun = begun or refused.status >= 500
            if not begun or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)
        part = _newest(api, asked.dag_id)
        if part and not part["completed_at"] and (part["from_date"], part["to_date"]) == (asked.since, asked.until):
            with contextlib.suppress(Refused):  # locked again, or it has ended by itself
                api.call("PUT", f"/api/v2/backfills/{part['id']}/cancel")


def _body(asked: Range) -> dict[str, object]:
    """Nights that ran before are run again, and one at a time: Airflow does not hold a backfill to the DAG's max_active_runs."""
    about = {"dag_id": asked.dag_id, "from_date": asked.since, "to_date": asked.until}
    return about | {"reprocess_behavior": "completed", "max_active_runs": 1}


def _runs(api: Api, asked: Range) -> dict[str, dict]:
    """The runs that are there, by logical date."""
    query = urlencode({"logical_date_gte": asked.since, "logical_date_lte": asked.until, "order_by": "logical_date", "limit": 100})
    found: list[dict] = []
    while len(found) < (page := api.call("GET", f"/api/v2/dags/{asked.dag_id}/dagRuns?{query}&offset={len(found)}"))["total_entries"]:
        found += page["dag_runs"]
    return {run["logical_date"]: run for run in found}


def _path(run: dict) -> str:
    return f"/api/v2/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'], safe='')}"


def results(api: Api, run: dict) -> dict[str, dict]:
    """What the steps of an ended run returned."""
    query = urlencode([("interval", 1), *(("result", step) for step in ORDER)])
    found = api.call("GET", f"{_path(run)}/wait?{query}").get("results") or {}
    return {step: found[step] for step in ORDER if isinstance(found.get(step), dict)}


def _waits(api: Api, run: dict) -> str:
    """What a night waits for that may take hours; empty where it does not."""
    tasks = api.call("GET", f"{_path(run)}/taskInstances?state=awaiting_input&state=deferred")["task_instances"]
    words = {"awaiting_input": "waits for a person, in the Airflow UI under Required Actions", "deferred": "waits for a provider's batch"}
    return "; ".join(f"{task['task_id']} {words[task['state']]}" for task in tasks)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 every night succeeded, 1 one failed, 2 a mistake that the message explains, 130 interrupted."""
    about = "Nights, one after another, in the Airflow that `make up` started. Both dates are nights: the run comes on the day after."
    left = "no longer following; the backfill goes on in Airflow, and the same command follows it again"
    return command("plugins.backfill", about, run, lambda: left, arguments, nights=("from", "to"))


if __name__ == "__main__":
    sys.exit(main())
