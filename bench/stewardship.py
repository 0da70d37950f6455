"""Ingest, validate, scrub and split of one day at growing sizes, and the erasure of one person: `python -m bench.stewardship`.

Each step runs in a process of its own; its peak memory is that of the largest of its processes. The rows are sentences
from a small grammar with names, numbers and addresses, a hundredth of them broken, one conversation in three of several
turns. `--rows 10000 100000` for other sizes; the default takes about ten minutes on two cores.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import yaml

from pipelines.foundation.scratch import scratch
from pipelines.settings import ROOT

NIGHT = "2026-11-20"
STEPS = ("ingest", "validate", "scrub", "split")
PERSON = "u-000007"
LABELS = ("card", "fee", "login", "loan", "transfer")
OPENINGS = ("Hi", "Hello there", "Dear team", "Quick question", "Good morning", "Sorry to bother you", "Urgent", "Hey")
NAMES = ("Anna Miller", "Ben Carter", "Clara Jones", "David Hughes", "Emma Walsh")
THINGS = ("card", "transfer", "statement", "password", "account", "loan", "cheque", "payment", "refund", "standing order")
STATES = ("was declined", "has not arrived", "is blocked", "was charged twice", "looks wrong", "is still pending", "got lost")
PLACES = ("in Leeds", "at the airport", "online", "at your branch", "in the app", "abroad", "by phone", "at the cash machine")
USECASE = {
    "name": "load",
    "description": "Generated messages",
    "sources": [
        {
            "path": "sample",
            "columns": {
                **{"row_id": "id", "conversation_id": "talk", "turn": "turn", "subject_id": "who", "created_at": "at"},
                **{"text": "text", "label": "label", "reply": "reply"},
            },
        }
    ],
    "task": {"answer": "label_reply"},
    "gate": {"metrics": {"accuracy": 0.05}},
}
CONTRACT = {
    "labels": sorted(LABELS),
    "rows": [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "reply"}},
        {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3, "max_value": 1000}},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "subject_id", "regex": "^u-[0-9]+$"}},
    ],
}
PROFILE = {
    "state": "state",
    "lake": "{state}/lake",
    "mlflow": "sqlite:///{state}/mlflow.db",
    "artifacts": "{state}/artifacts",
    "endpoints": {"embedded": {"kind": "embedded"}},
}


def main() -> int:
    """Print a line a size, and the erasure on the largest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    print(f"{'rows':>9}  " + "  ".join(f"{step:>22}" for step in (*STEPS, "together", "erase one person")))
    for rows in parser.parse_args().rows:
        with scratch() as folder:
            write(folder, rows)
            told = [run(folder, f"from pipelines.data.{step} import {step}; {step}('load', 'local', '{NIGHT}')") for step in STEPS]
            seconds, memory = sum(found[0] for found in told), max(found[1] for found in told)
            told.append((seconds, memory))
            told.append(run(folder, f"from pipelines.system.erase import erase; erase('load', 'local', '{PERSON}')"))
            cells = "  ".join(f"{took:7.1f} s {rows / took:6.0f}/s {peak:5.0f} MB"[:32] for took, peak in told)
            print(f"{rows:>9}  {cells}", flush=True)
    return 0


def write(folder: Path, rows: int) -> None:
    """The configuration and the day's file."""
    usecase = folder / "config" / "usecases" / "load"
    (usecase / "sample").mkdir(parents=True)
    (folder / "config" / "profiles").mkdir()
    (folder / "config" / "profiles" / "local.yaml").write_text(yaml.safe_dump(PROFILE))
    (usecase / "usecase.yaml").write_text(yaml.safe_dump(USECASE))
    (usecase / "contract.yaml").write_text(yaml.safe_dump(CONTRACT))
    draw = random.Random(rows)
    with (usecase / "sample" / f"{NIGHT}.jsonl").open("w") as out:
        for number in range(rows):
            out.write(json.dumps(row(number, draw)) + "\n" if number % 100 else '{"id": broken\n')


def row(number: int, draw: random.Random) -> dict:
    """A message; of three conversations in a row one has several turns."""
    talk = number // 6 * 3 + min(number % 6, 2)
    text = f"{draw.choice(OPENINGS)}, my {draw.choice(THINGS)} {draw.randrange(10_000)} {draw.choice(STATES)} {draw.choice(PLACES)}"
    text += f" since {draw.randrange(1, 29)}/{draw.randrange(1, 13)} and I paid {draw.randrange(1, 900)} for {draw.choice(THINGS)}s"
    if number % 10 == 0:
        text += f". My name is {draw.choice(NAMES)}, write to user{number}@example.org or call 020 7946 0{draw.randrange(100, 999)}"
    return {
        "id": f"m{number:08d}",
        "talk": f"t{talk:08d}",
        "turn": max(number % 6 - 1, 1),
        "who": f"u-{talk % max(1, 50_000):06d}",
        "at": f"{NIGHT}T{number % 24:02d}:{number % 60:02d}:00Z",
        "text": text,
        "label": draw.choice(LABELS),
        "reply": f"We look at your {draw.choice(THINGS)} now.",
    }


def run(folder: Path, code: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a process that runs the code."""
    environment = os.environ | {
        **{"NIGHTSHIFT_CONFIG": str(folder / "config"), "NIGHTSHIFT_STATE": str(folder / "state")},
        **{"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"},
    }
    started = time.perf_counter()
    peak = "import resource as r; print(max(r.getrusage(w).ru_maxrss for w in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{peak}"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - started, int(done.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
