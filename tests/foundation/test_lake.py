"""The lake: transactions, versions, and what is kept out of the log."""

import multiprocessing
from pathlib import Path

import pytest

from pipelines.foundation import ledger
from pipelines.foundation.lake import Lake

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
