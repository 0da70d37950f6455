"""Row checks of a contract on many rows: Great Expectations alone, ours, and the same checks written by hand in pandas.

Each in a process of its own, on the same rows; all must find the same ones. `ours` is timed from the spool on disk as
validate does it, `lake` is that and reading the night from its Delta table before. One line of JSON each.
`python -m bench.contract --rows 1000000`; `--only ours lake` for more rows than Great Expectations has memory for.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.data.contract.checking import check
from pipelines.data.contract.expectations import ask, build
from pipelines.data.contract.spool import BATCH_ROWS, Spool, spooled
from pipelines.foundation import records
from pipelines.foundation.lake import Lake

NIGHT = "2026-11-20"
LABELS = [f"label_{n}" for n in range(40)]
COLUMNS = ["row_id", "file", "line", "turn", "subject_id", "text", "label", "reply"]
RULES = [
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "reply"}},
    {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3, "max_value": 400}},
    {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "subject_id", "regex": "^u-[0-9]+$"}},
    {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "label", "value_set": LABELS}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "row_id"}},
    {"type": "expect_column_values_to_be_between", "kwargs": {"column": "turn", "min_value": 1, "max_value": 20}},
]
WAYS = ("pandas", "gx", "ours", "lake")


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of traffic a batch at a time, a hundredth of them broken for each rule."""
    words = np.array([f"word{n} " for n in range(1000)], object)
    schema = records.schema("traffic")
    for start in range(0, rows, BATCH_ROWS):
        luck = np.random.default_rng(start)
        at = np.arange(start, min(start + BATCH_ROWS, rows))

        def odd(made: list, value: object, luck: np.random.Generator = luck) -> list:
            return [value if out else one for one, out in zip(made, luck.random(len(made)) < 0.01, strict=True)]

        texts = ["".join(words[luck.integers(0, 1000, 12)]) for _ in at]
        held = {
            "row_id": [f"m-{n}" for n in np.where(luck.random(len(at)) < 0.01, np.maximum(at - 7, 0), at)],
            "file": ["f" * 64] * len(at),
            "line": at.tolist(),
            "night": [NIGHT] * len(at),
            "day": [NIGHT] * len(at),
            "turn": odd((at % 20 + 1).tolist(), 99),
            "subject_id": odd([f"u-{n % 5000}" for n in at], "nobody"),
            "text": odd(texts, "x"),
            "label": odd([LABELS[n % 40] for n in at], "other"),
            "reply": odd(texts, None),
        }
        columns = [pa.array(held.get(field.name) or [None] * len(at), field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def by_hand(frame: pd.DataFrame) -> list[int]:
    """Rows that break each rule, as one would write it."""
    there = frame["turn"].notna()
    checks = [
        frame["reply"].isna(),
        frame["text"].notna() & ~frame["text"].str.len().between(3, 400),
        frame["subject_id"].notna() & ~frame["subject_id"].str.contains("^u-[0-9]+$"),
        frame["label"].notna() & ~frame["label"].isin(LABELS),
        frame["row_id"].notna() & frame["row_id"].duplicated(keep="first"),
        there & ~frame["turn"].between(1, 20),
    ]
    return [len(frame.index[broken.to_numpy()]) for broken in checks]


def peak() -> int:
    """The most memory that this process held, in MB."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


def measure(way: str, folder: str, rows: int, answers: "multiprocessing.Queue[dict]") -> None:
    """Time one way, in seconds, and its process's peak in MB, before and after."""
    rules = build(RULES, "rows", of_rows=True) if way != "pandas" else []
    spool = Spool(f"{folder}/rows.arrow", tuple(COLUMNS), rows)
    frame = pa.Table.from_batches([batch for _, batch in spool.batches(COLUMNS)]).to_pandas() if way in ("pandas", "gx") else None
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, started = peak(), time.perf_counter()
    if way == "pandas":
        found = by_hand(frame)
    elif way == "gx":
        seen = ask(frame, rules)
        again = frame.iloc[seen[4].rows].duplicated("row_id", keep="first").sum()
        found = [int(again) if at == 4 else len(one.rows) for at, one in enumerate(seen)]
    elif way == "ours":
        found = [len(one.rows) for one in check(spool, rules)]
    else:
        lake = Lake(f"{folder}/lake")
        with spooled(lake.scan("traffic", lake.version("traffic"), COLUMNS, f"night = '{NIGHT}'"), COLUMNS) as held:
            found = [len(one.rows) for one in check(held, rules)]
    seconds = time.perf_counter() - started
    answers.put({"way": way, "rows": rows, "seconds": round(seconds, 2), "peak_mb": peak(), "before_mb": before, "found": found})


def main() -> None:
    """Make the rows once, then measure each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        schema = pa.schema([records.schema("traffic").field(name) for name in COLUMNS])
        with pa.OSFile(f"{folder}/rows.arrow", "wb") as file, pa.ipc.new_file(file, schema) as out:
            for batch in batches(options.rows):
                out.write_batch(batch.select(COLUMNS))
        if "lake" in options.only:
            Lake(f"{folder}/lake").append("traffic", lambda: batches(options.rows))
        seconds = {}
        for way in options.only:
            answers: multiprocessing.Queue[dict] = spawn.Queue()
            child = spawn.Process(target=measure, args=(way, folder, options.rows, answers))
            child.start()
            told = answers.get()
            child.join()
            seconds[way] = told["seconds"]
            print(json.dumps(told | {"times_pandas": round(told["seconds"] / seconds["pandas"], 2) if "pandas" in seconds else None}))


if __name__ == "__main__":
    main()
