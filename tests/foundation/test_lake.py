"""The lake: transactions, versions, and what is kept out of the log."""

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.errors import UserError
from pipelines.foundation import ledger, upkeep
from pipelines.foundation.lake import Lake
from pipelines.foundation.records import schema
from tests.searching import mentions

NIGHT = "2026-11-20"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def files(lake: Lake) -> list[str]:
    return sorted(lake.read("files", lake.version("files"))["file"].to_pylist())


def test_a_table_that_was_never_written_is_empty(lake: Lake) -> None:
    assert lake.version("files") is None
    assert lake.read("files", None).num_rows == 0


def test_replace_is_safe_to_repeat_and_leaves_other_nights(lake: Lake) -> None:
    lake.replace("files", [{"file": "old", "night": "2026-11-19"}], night="2026-11-19")
    for _ in range(2):
        lake.replace("files", [{"file": "new", "night": NIGHT}], night=NIGHT)
    assert files(lake) == ["new", "old"]


def test_an_old_version_reads_as_it_was(lake: Lake) -> None:
    first = lake.append("files", [{"file": "a", "night": NIGHT}])
    lake.append("files", [{"file": "b", "night": NIGHT}])
    assert lake.read("files", first)["file"].to_pylist() == ["a"]


def test_a_quote_in_a_value_does_not_end_the_condition(lake: Lake) -> None:
    lake.replace("files", [{"file": "it's", "night": NIGHT}], file="it's")
    lake.replace("files", [{"file": "it's", "night": NIGHT}], file="it's")
    assert files(lake) == ["it's"]


def test_an_unknown_table_is_refused(lake: Lake) -> None:
    with pytest.raises(KeyError):
        lake.version("tables")


def test_what_people_wrote_is_not_in_the_transaction_log(lake: Lake) -> None:
    lake.append("traffic", [{"row_id": "1", "file": "f", "line": 1, "night": NIGHT, "text": "my secret is swordfish", "reply": "sure"}])
    log = "".join(path.read_text() for path in Path(lake.root, "traffic", "_delta_log").glob("*.json"))
    assert "swordfish" not in log


def _append(root: str, count: int) -> None:
    for number in range(count):
        Lake(root).replace("files", [{"file": f"{multiprocessing.current_process().name}-{number}", "night": NIGHT}])


def test_two_writers_lose_nothing(lake: Lake) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append, args=(lake.root, 10)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(files(lake))) == 20


def test_the_ledger_says_a_decision_once(lake: Lake) -> None:
    for _ in range(2):
        ledger.append(lake, NIGHT, "verdict", {"verdict": "PROMOTE"})
    ledger.append(lake, NIGHT, "verdict", {"verdict": "REJECT"})
    assert [entry.body["verdict"] for entry in ledger.entries(lake)] == ["PROMOTE", "REJECT"]
    assert len(ledger.entries(lake)) == 2


def test_rows_stream_in_and_out_without_being_held(lake: Lake) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 30_000, 1_000):
            rows = [{"file": f"f{number}", "night": NIGHT} for number in range(start, start + 1_000)]
            yield pa.RecordBatch.from_pylist(rows, schema("files"))

    version = lake.replace("files", batches, night=NIGHT)
    sizes = [batch.num_rows for batch in lake.scan("files", version, ["file"])]
    assert sum(sizes) == 30_000 and max(sizes) < 10_000


def test_after_a_purge_nothing_of_the_older_versions_is_on_the_disk(lake: Lake) -> None:
    old = lake.append("traffic", [{"row_id": name, "night": NIGHT, "text": f"{name} wrote swordfish"} for name in ("anna", "ben")])
    lake.delete("traffic", "row_id = 'anna'")
    assert mentions(Path(lake.root), ["anna"])["anna"]
    version = upkeep.purge(lake, "traffic")
    assert mentions(Path(lake.root), ["anna"]) == {"anna": []}
    assert version is not None and lake.read("traffic", version, ["row_id"])["row_id"].to_pylist() == ["ben"]
    assert lake.read("traffic", old, ["row_id"])["row_id"].to_pylist() == ["ben"], "an older version is read as the oldest that is kept"
    lake.append("traffic", [{"row_id": "carl", "night": NIGHT}])
    assert sorted(lake.read("traffic", lake.version("traffic"), ["row_id"])["row_id"].to_pylist()) == ["ben", "carl"]


def test_a_version_whose_files_somebody_vacuumed_is_read_as_the_newest(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    from deltalake import DeltaTable

    old = lake.replace("files", [{"file": "a", "night": NIGHT}], night=NIGHT)
    lake.replace("files", [{"file": "b", "night": NIGHT}], night=NIGHT)
    DeltaTable(f"{lake.root}/files").vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert lake.read("files", old)["file"].to_pylist() == ["b"]
    assert "files of version" in caplog.text


def test_a_file_that_is_missing_from_the_newest_version_is_named(lake: Lake) -> None:
    version = lake.append("files", [{"file": "a", "night": NIGHT}])
    for path in Path(lake.root, "files").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(UserError, match=r"a file of its version \d+ was removed"):
        lake.read("files", version)


def test_a_step_keeps_an_erasure_out_and_the_other_way_round(lake: Lake) -> None:
    order: list[str] = []

    def erase() -> None:
        with lake.exclusive():
            order.append("erasure")

    with lake.shared(), lake.shared():
        thread = threading.Thread(target=erase)
        thread.start()
        thread.join(1)
        order.append("step")
    thread.join()
    assert order == ["step", "erasure"]
