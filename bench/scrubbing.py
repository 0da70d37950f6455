"""Rows a second and memory of `scrub`, over made-up nights: `python -m bench.scrubbing [--rows 100000]`.

The texts are banking77's, each varied by a number that is no personal data; every tenth row holds a telephone number, an
address, a card or a name as well. Half of the rows are in conversations of four turns. Writes below a temporary folder.
"""

import argparse
import csv
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bench.privacy import DATA
from pipelines.data.scrub import scrub
from pipelines.foundation import records
from pipelines.foundation.step import Night, step

if TYPE_CHECKING:
    import pyarrow as pa

NIGHT = "2026-11-20"
BATCH = 10_000
MORE = (
    *(" Ring me on 07700 9{:05}.", " Write to user{}@post.example.", " My name is Priya Sharma, order {}."),
    *(" The card is 4012 8888 8888 1881, case {}.", " My account number is 10{:07}."),
)
USECASE = {
    "name": "bench",
    "description": "Texts of banking77, varied",
    "sources": [{"path": "sample", "columns": {"text": "text"}}],
    "task": {"answer": "label"},
    "gate": {"metrics": {"accuracy": 0.05}},
}
PLACES = {
    "endpoints": {},
    "state": "state",
    "lake": "{state}/lake",
    "mlflow": "sqlite:///{state}/mlflow.db",
    "artifacts": "{state}/artifacts",
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with (DATA / "banking77" / "train.csv").open(encoding="utf-8") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)]
    with tempfile.TemporaryDirectory() as root:
        _house(Path(root))

        @step(code=1)
        def ingest(night: Night) -> dict:
            return {"traffic": night.lake.replace("traffic", lambda: _batches(texts, rows), night=NIGHT)}

        @step(code=1, after="ingest")
        def validate(night: Night) -> dict:
            return {"quarantine": night.lake.replace("quarantine", [], night=NIGHT, step="validate")}

        ingest("bench", "local", NIGHT), validate("bench", "local", NIGHT)
        before, started, used = _peak(), time.perf_counter(), time.process_time()
        result = scrub("bench", "local", NIGHT)
        seconds, used = time.perf_counter() - started, time.process_time() - used
    print(
        f"{result['rows']:,} rows, {result['touched']:,} touched: {rows / seconds:,.0f} rows a second ({seconds:.1f} s, CPU {used:.1f} s)"
    )
    print(f"most memory {_peak():,.0f} MB, {before:,.0f} MB of it before; found {result['entities']}")


def _batches(texts: list[str], rows: int) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    for first in range(0, rows, BATCH):
        found = [_row(texts, place) for place in range(first, min(first + BATCH, rows))]
        yield pa.RecordBatch.from_pylist(found, schema=records.schema("traffic"))


def _row(texts: list[str], place: int) -> dict:
    more = MORE[place // 10 % len(MORE)].format(place) if place % 10 == 0 else f" ({place})"
    talk = f"c{place // 4:08}" if place % 8 < 4 else None
    about = {"row_id": str(place), "file": "f", "source": "f.jsonl", "line": place + 1, "night": NIGHT, "day": NIGHT, "attributes": "{}"}
    return about | {"conversation_id": talk, "turn": place % 4 + 1, "text": texts[place % len(texts)] + more}


def _house(root: Path) -> None:
    folder = root / "config" / "usecases" / "bench"
    folder.mkdir(parents=True)
    (folder / "usecase.yaml").write_text(yaml.safe_dump(USECASE))
    (folder / "contract.yaml").write_text("{}")
    (root / "config" / "profiles").mkdir()
    (root / "config" / "profiles" / "local.yaml").write_text(yaml.safe_dump(PLACES))
    os.environ |= {"NIGHTSHIFT_CONFIG": str(root / "config"), "NIGHTSHIFT_STATE": str(root / "state")}


def _peak() -> float:
    """Most memory so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
