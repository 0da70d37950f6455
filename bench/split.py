"""The step split at scale: `python -m bench.split [ROWS [NIGHTS]]`, by default 100,000 rows a night on 2 nights.

A house of its own in a scratch folder; the rows are those of `bench.leaks`, one in ten said again word for word, in
conversations of two turns. Prints for each night what the step returned, rows a second end to end (reading, context,
near-duplicates among tonight's and earlier rows, both sides compared, writing) and the peak of resident memory.
"""

import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.leaks import message
from pipelines.data.split import split
from pipelines.foundation import records
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night, open_night, step

if TYPE_CHECKING:
    import pyarrow as pa

USECASE = """name: bench
description: rows to be split
sources: [{path: nowhere, columns: {text: text}}]
task: {answer: label}
gate: {metrics: {accuracy: 0.05}}
split: {test_share: 0.2, group_by: conversation, context_turns: 0}
"""
CONTRACT = "labels: [red, blue]\n"
PROFILE = """state: {folder}
lake: "{{state}}/lake"
mlflow: "sqlite:///{{state}}/mlflow.db"
artifacts: "{{state}}/artifacts"
endpoints: {{embedded: {{kind: embedded}}}}
"""
BATCH = 10_000


def batches(night: str, count: int) -> "Iterator[pa.RecordBatch]":
    """The rows of one night, as scrub leaves them."""
    import pyarrow as pa

    draw = random.Random(night)
    said: list[str] = []
    for start in range(0, count, BATCH):
        rows = []
        for number in range(start, min(start + BATCH, count)):
            text = draw.choice(said) if said and draw.random() < 0.1 else message(draw)
            said.append(text)
            identity = {"row_id": f"{night}-{number}", "conversation_id": f"{night}-{number // 2}", "subject_id": f"u{number // 4}"}
            place = {"file": night, "source": "bench", "line": number + 1, "night": night, "day": night, "turn": number % 2 + 1}
            rows.append(identity | place | {"text": text, "label": draw.choice(["red", "blue"]), "attributes": "{}"})
        yield from pa.Table.from_pylist(rows, records.schema("clean")).to_batches()


def main(count: int, nights: int) -> None:
    """Print two lines a night."""

    @step(code=1)
    def scrub(night: Night) -> dict:
        return {"clean": night.lake.replace("clean", lambda: batches(night.night, count), night=night.night)}

    with scratch() as folder:
        os.environ["NIGHTSHIFT_CONFIG"] = str(folder)
        settings = {"usecases/bench/usecase.yaml": USECASE, "usecases/bench/contract.yaml": CONTRACT}
        for path, text in (settings | {"profiles/local.yaml": PROFILE.format(folder=folder / "state")}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder / path).write_text(text, encoding="utf-8")
        for number in range(nights):
            night = f"2026-11-{number + 1:02}"
            scrub("bench", "local", night)
            started = time.perf_counter()
            found = split("bench", "local", night)
            seconds = time.perf_counter() - started
            print({name: value for name, value in found.items() if isinstance(value, int)})
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            known = open_night("bench", "local", night).lake.read("examples", found["examples"], ["night"]).num_rows
            print(f"{night}: {count:,} rows, {count / seconds:,.0f} a second, {known:,} stored, peak memory {peak:,.0f} MB", flush=True)


if __name__ == "__main__":
    main(*(int(value) for value in (sys.argv[1:] + ["100000", "2"][len(sys.argv) - 1 :])))
