"""How fast a day's file goes into the lake, and in how much memory: `python -m bench.ingest --rows 100000 [--format csv]`.

The rows are made up: short messages of a bank's customers with ids, conversations of one to four turns, people, times, a
label and a reply; 1 in 500 is there twice under its id, 1 in 500 again under another, 1 in 1,000 has no text. The step runs
in a process of its own, whose peak memory is what is printed. Exit code 1 where a row was lost, a duplicate missed, or more
than --most-megabytes were resident.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipelines.settings import ROOT

NIGHT = "2026-11-20"
COLUMNS = {
    **{"row_id": "id", "conversation_id": "conversation", "turn": "turn", "subject_id": "customer", "created_at": "at"},
    **{"text": "text", "label": "intent", "reply": "reply"},
}
INTENTS = ("card_arrival", "pin_reset", "transfer_delayed", "exchange_rate", "lost_card", "out_of_scope")
OPENINGS = ("hi", "hello there", "please help", "it is me again", "good morning", "sorry to bother you", "quick question")
MATTERS = ("my card", "the transfer to my sister", "the new PIN", "a payment I do not know", "the rate for euros", "my café receipt")
TROUBLES = ("has not arrived", "is refused", "seems wrong", "was taken twice", "cannot be found in the app", "takes far too long")
EVERY = {"twice": 500, "copied": 501, "empty": 1000}


def rows(count: int, seed: int = 0) -> Iterator[dict]:
    """Rows in order of their time; a row that is there again follows its first."""
    chance = random.Random(seed)
    conversation, left, turn = 0, 0, 0
    for n in range(count):
        if not left:
            conversation, left, turn = conversation + 1, chance.randint(1, 4), 0
        left, turn = left - 1, turn + 1
        second = int(86_400 * n / count)
        text = f"{chance.choice(OPENINGS)}, {chance.choice(MATTERS)} {chance.choice(TROUBLES)} since {chance.randint(1, 3000)} hours"
        row = {"id": f"m-{n:09d}", "conversation": f"c-{conversation:08d}", "turn": turn, "customer": f"u-{conversation % 400_000:06d}"}
        row |= {"at": f"{NIGHT}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z", "channel": chance.choice(("app", "web"))}
        row |= {"text": text, "intent": chance.choice(INTENTS), "reply": f"We have looked at it: {chance.randint(1, 900)} minutes, please."}
        if n % EVERY["empty"] == EVERY["empty"] - 1:
            row["text"] = ""
        elif n % EVERY["twice"] == 7:
            yield row
        elif n % EVERY["copied"] == 9:
            yield row | {"id": f"n-{n:09d}"}
        yield row


def write(path: Path, count: int) -> Counter:
    """Write the file; returns how many rows of which kind are in it."""
    told: Counter = Counter(rows=0)
    last: dict = {}
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out) if path.suffix == ".csv" else None
        for row in rows(count):
            if table and not told["rows"]:
                table.writerow(row)
            told["rows"] += 1
            told["empty_text"] += not row["text"]
            if last and last | {"id": row["id"]} == row:
                told["duplicate_row" if last["id"] == row["id"] else "duplicate_content"] += 1
            last = row
            table.writerow(row.values()) if table else out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return told


def measure(folder: Path, count: int, kind: str) -> bool:
    """Make a file, take it in, print one line; returns whether every row is where it belongs."""
    sample = folder / "config" / "usecases" / "day" / "sample"
    sample.mkdir(parents=True)
    told = write(sample / f"{NIGHT}.{kind}", count)
    usecase = {"name": "day", "description": "A day", "sources": [{"path": "sample", "columns": COLUMNS}]}
    usecase |= {"task": {"answer": "label"}, "gate": {"metrics": {"accuracy": 0.05}}}
    (sample.parent / "usecase.yaml").write_text(yaml.safe_dump(usecase))
    (sample.parent / "contract.yaml").write_text(yaml.safe_dump({"labels": list(INTENTS)}))
    profile = {"state": str(folder / "state"), "lake": "{state}/lake", "mlflow": "sqlite:///{state}/mlflow.db", "endpoints": {}}
    (folder / "config" / "profiles").mkdir()
    (folder / "config" / "profiles" / "local.yaml").write_text(yaml.safe_dump(profile))
    command = [sys.executable, "-m", "pipelines", "ingest", "--usecase", "day", "--profile", "local", "--night", NIGHT, "--json"]
    started = time.perf_counter()
    env = os.environ | {"NIGHTSHIFT_CONFIG": str(folder / "config"), "NIGHTSHIFT_STATE": str(folder / "state")}
    done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - started
    found = json.loads(done.stdout)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, work = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
    again = told["duplicate_row"] + told["duplicate_content"]
    refused = again + told["empty_text"]
    sound = (found["read"], found["quarantined"], found.get("duplicates")) == (told["rows"], refused, again)
    size = (sample / f"{NIGHT}.{kind}").stat().st_size / 2**20
    print(
        f"{kind}: {told['rows']:,} rows, {size:,.0f} MB; {seconds:.1f} s ({work:.1f} of a processor), "
        f"{told['rows'] / seconds:,.0f} rows/s, {peak:,.0f} MB resident; "
        f"{found['accepted']:,} accepted, {found['quarantined']:,} quarantined, {found.get('duplicates')} of them duplicates: "
        + ("as made" if sound else f"WRONG, made were {dict(told)}")
    )
    return sound


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    parser.add_argument("--most-megabytes", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sound = measure(Path(folder), options.rows, options.format)
    return 0 if sound and resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 < options.most_megabytes else 1


if __name__ == "__main__":
    sys.exit(main())
