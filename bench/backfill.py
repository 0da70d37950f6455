"""Fourteen nights of the sample by Airflow's own backfill, twice: cold, then from the memo. `python -m bench.backfill [--keep FOLDER]`

A real Airflow in a temporary folder (with a warm scheduler: see `tests.airflow_servers`), the embedded model, and a recipe
that is small enough for half a minute a night: what is measured is the way, not the model. One table a backfill; ends with 1
where a night failed, ran out of order, worked on another day's rows, was compared with a model of its future, or paid for
anything twice.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from pipelines.foundation import ledger
from pipelines.foundation.lake import Lake
from plugins import backfill
from tests.airflow_servers import USECASE, Airflow

FIRST, LAST = "2026-11-07", "2026-11-20"
RECIPE = {
    "schedule": "0 2 8-21 11 *",  # these nights alone: else the schedule starts last night's run, which waits for its turn
    "synthesis": None,
    "task.max_new_tokens": 24,
    "tuning.max_rows": 48,
    "evaluation": {"max_items": 16},
    "safety.max_items": 4,
    "safety.margin": 1.0,
    "safety.graders.judge": None,
    # So few rows show little: the gate is told to be content with it, so that champions change.
    "gate": {"metrics": {"accuracy": 0.5, "chrf": 0.3}, "alpha": 0.2, "min_items": 4, "slice_margin": 1.0},
}


def go(airflow: Airflow) -> tuple[list[dict], list[dict[str, dict]]]:
    """One backfill, followed; its runs in order, and what their steps returned."""
    process = airflow.start("plugins.backfill", "--usecase", USECASE, "--from", FIRST, "--to", LAST)
    assert process.stdout
    for line in process.stdout:
        print(f"  {line.rstrip()}", flush=True)
    if process.wait():
        raise SystemExit("the backfill did not succeed")
    asked = backfill.reach(USECASE, FIRST, LAST)
    runs = [run for run in airflow.runs() if run["logical_date"] and asked.since <= run["logical_date"] <= asked.until]
    return runs, [backfill.results(airflow.api, run) for run in runs]


def table(runs: list[dict], nights: list[dict[str, dict]]) -> None:
    """A line a night."""
    print(f"\n  {'night':<12}{'read':>5}{'sealed':>8}  {'verdict':<19}{'champion':<12}{'seconds':>8}{'calls':>7}  from the memo")
    for run, found in zip(runs, nights, strict=True):
        fresh = [result for result in found.values() if not result["memo"]]
        champion = f"{_name(found['evaluate']['champion']['version'])} -> {_name(found['promote']['champion_version'])}"
        calls, memo = sum(result.get("model_calls", 0) for result in fresh), f"{len(found) - len(fresh)} of {len(found)} steps"
        print(
            f"  {backfill.night_of(run['logical_date']):<12}{found['ingest']['read']:>5}{found['evaluate']['items']:>8}  "
            f"{found['gate']['verdict']:<19}{champion:<12}{run['duration']:>8.0f}{calls:>7}  {memo}"
        )
    seconds = [run["duration"] for run in runs]
    print(f"  {len(runs)} nights, {sum(seconds):.0f} s of runs, {sum(seconds) / len(seconds):.1f} s a night\n", flush=True)


def wrong(airflow: Airflow, runs: list[dict], nights: list[dict[str, dict]]) -> list[str]:
    """What must not be."""
    lake = Lake(f"{airflow.state}/lake/{USECASE}")
    names = [backfill.night_of(run["logical_date"]) for run in runs]
    moved = {entry.body["version"]: entry.night for entry in ledger.entries(lake) if entry.kind == "promotion"}
    rows = lake.read("traffic", lake.version("traffic"), ["night", "day"]).to_pylist()
    found = [f"{names[i]} began too early" for i in range(1, len(runs)) if runs[i]["start_date"] < runs[i - 1]["end_date"]]
    found += [f"{row['night']} holds rows of {row['day']}" for row in rows if row["day"] != row["night"] and row["night"] != FIRST]
    found += [] if list(moved.values()) == sorted(moved.values()) else [f"promotions out of order: {moved}"]
    for name, night in zip(names, nights, strict=True):
        champion = night["evaluate"]["champion"]["version"]
        if champion and moved[champion] >= name:
            found.append(f"{name} was compared with version {champion} of {moved[champion]}")
    return found


def main(keep: str) -> int:
    """Returns the exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="nightshift-backfill-") as scratch,
        Airflow(Path(keep or scratch), RECIPE, warm=True) as airflow,
    ):
        began = time.perf_counter()
        cold = go(airflow)
        between = time.perf_counter()
        table(*cold)
        warm = go(airflow)
        table(*warm)
        print(f"  cold {between - began:.0f} s, warm {time.perf_counter() - between:.0f} s by the clock")
        faults = wrong(airflow, *cold) + wrong(airflow, *warm)
    paid = sum(result.get("model_calls", 0) for night in warm[1] for result in night.values() if not result["memo"])
    faults += [f"the second backfill asked for {paid} calls"] if paid else []
    print("\n".join(f"  WRONG: {fault}" for fault in faults) or "  in order, each on its own day's rows, nothing paid for twice")
    return 1 if faults else 0


def _name(version: str | None) -> str:
    return version or "base"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.backfill", description=__doc__)
    parser.add_argument("--keep", default="", help="an empty folder that keeps what was written")
    sys.exit(main(parser.parse_args().keep))
