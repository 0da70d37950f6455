"""Files are taken once, by their bytes; every row is accepted or quarantined; a killed ingest leaves no trace."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.data.ingest import ingest, inspect
from pipelines.errors import UserError
from pipelines.foundation.lake import Lake
from pipelines.foundation.step import open_night

NIGHT = "2026-11-20"
COLUMNS = {"row_id": "id", "text": "text", "label": "label", "created_at": "at", "turn": "turn"}


def row(n: int, **changes: object) -> str:
    made = {"id": f"m-{n}", "text": f"text {n}", "label": "red", "at": "2026-11-20T10:00:00Z", "turn": 1, "channel": "app"} | changes
    return json.dumps({name: value for name, value in made.items() if value != "ABSENT"}) + "\n"


def rows(table: str, usecase: str = "small") -> list[dict]:
    lake = open_night(usecase, "local", NIGHT).lake
    return lake.read(table, lake.version(table)).to_pylist()


@pytest.fixture
def sample(house: Callable[..., Path]) -> Path:
    """The folder of the small use case's files."""
    folder = house(sources=[{"path": "sample", "columns": COLUMNS}]) / "usecases" / "small" / "sample"
    folder.mkdir(parents=True)
    return folder


def take(night: str = NIGHT) -> dict:
    return ingest("small", "local", night)


def test_a_row_is_mapped_and_the_rest_kept_as_attributes(sample: Path) -> None:
    (sample / "a.jsonl").write_text(row(1, at="2026-11-20T00:30:00+02:00"))
    assert take()["accepted"] == 1
    found = rows("traffic")[0]
    assert (found["row_id"], found["text"], found["label"], found["turn"], found["day"]) == ("m-1", "text 1", "red", 1, "2026-11-19")
    assert json.loads(found["attributes"]) == {"channel": "app"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": "ABSENT"}, "missing_text"),
        ({"text": None}, "missing_text"),
        ({"text": 7}, "text_not_a_string"),
        ({"text": ["a"]}, "text_not_a_string"),
        ({"text": ""}, "empty_text"),
        ({"text": " \n\t"}, "empty_text"),
        ({"text": "x" * 20_001}, "too_long"),
        ({"text": "a\x00b"}, "nul_character"),
        ({"label": "green"}, "label_unknown"),
        ({"label": None}, "label_missing"),
        ({"label": {"a": 1}}, "bad_label"),
        ({"at": "yesterday"}, "bad_created_at"),
        ({"at": True}, "bad_created_at"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "bad_created_at"),
        ({"at": "2026-11-21T00:00:00Z"}, "after_night"),
        ({"turn": 0}, "bad_turn"),
        ({"turn": "first"}, "bad_turn"),
        ({"id": [1]}, "bad_row_id"),
        ({"id": "m-1", "text": "other"}, "duplicate_id"),
        ({"id": "m-1", "text": "text 1"}, "duplicate_row"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason_and_line(sample: Path, changes: dict, reason: str) -> None:
    (sample / "a.jsonl").write_text(row(1) + row(2, **changes) + row(3))
    result = take()
    assert (result["read"], result["accepted"], result["quarantined"]) == (3, 2, 1)
    found = rows("quarantine")[0]
    assert (found["reason"], found["line"], found["step"], Path(found["source"]).name) == (reason, 2, "ingest", "a.jsonl")


@pytest.mark.parametrize("at", ["2026-11-19", "2026-11-19T08:00:00", "1763539200", 1763539200, 1763539200000, None, ""])
def test_times_in_iso_and_unix_form_and_none_are_read(sample: Path, at: object) -> None:
    (sample / "2026-11-19.jsonl").write_text(row(1, at=at))
    assert take()["accepted"] == 1
    assert rows("traffic")[0]["day"] in ("2026-11-19", "2025-11-19")


def test_rows_of_every_format_are_the_same_rows(sample: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    made = [json.loads(row(n)) for n in range(12)]
    names = list(made[0])
    lines = [";".join(names)] + [";".join(str(one[name]) for name in names) for one in made]
    (sample / "1.csv").write_bytes("\r".join(lines[:4]).encode("utf-16"))
    (sample / "2.csv.gz").write_bytes(gzip.compress("\r\n".join(lines[:1] + lines[4:7]).encode("utf-8-sig")))
    (sample / "3.json").write_text(json.dumps(made[6:9], indent=1))
    parquet.write_table(pa.Table.from_pylist(made[9:]), sample / "4.parquet")
    assert take()["accepted"] == 12
    assert {(one["row_id"], one["text"], one["label"], one["turn"]) for one in rows("traffic")} == {
        (f"m-{n}", f"text {n}", "red", 1) for n in range(12)
    }


def test_a_missing_column_is_a_refused_file_that_names_the_setting(sample: Path) -> None:
    (sample / "a.csv").write_text("id,txt,label,at,turn\n1,hello,red,,1\n")
    (sample / "b.jsonl").write_text(row(1))
    assert take()["quarantined"] == 1
    found = rows("quarantine")[0]
    assert (found["reason"], found["line"]) == ("missing_column", 0)
    assert "'text'" in found["detail"] and "'txt'" in found["detail"] and "sources[0].columns" in found["detail"]


def test_the_same_night_twice_does_nothing_the_second_time(sample: Path) -> None:
    (sample / "a.jsonl").write_text(row(1) + "broken\n")
    first, second = take(), take()
    assert second["memo"] and first | {"memo": True} == second
    assert len(rows("traffic")) == len(rows("quarantine")) == len(rows("files")) == 1


def test_a_file_is_taken_once_by_its_bytes_whatever_its_name(sample: Path) -> None:
    (sample / "a.jsonl").write_text(row(1))
    take("2026-11-20")
    (sample / "a.jsonl").rename(sample / "b.jsonl")
    (sample / "c.jsonl").write_text(row(2, at=None))
    assert take("2026-11-21")["read"] == 1
    assert Counter(one["night"] for one in rows("traffic")) == {"2026-11-20": 1, "2026-11-21": 1}


def test_a_file_of_a_later_date_waits_for_its_night(sample: Path) -> None:
    (sample / "2026-11-20.jsonl").write_text(row(1))
    (sample / "2026-11-21.jsonl").write_text(row(2))
    assert take("2026-11-20")["read"] == 1
    assert take("2026-11-21")["read"] == 1


def test_an_id_of_an_earlier_night_is_refused_with_its_place(sample: Path) -> None:
    (sample / "2026-11-19.jsonl").write_text(row(1, at=None))
    take("2026-11-19")
    (sample / "2026-11-20.jsonl").write_text(row(1, at=None, text="other"))
    take("2026-11-20")
    assert "2026-11-19.jsonl, line 1" in rows("quarantine")[0]["detail"]


def test_equal_rows_without_an_id_are_kept_once(house: Callable[..., Path]) -> None:
    house(files={"sample/a.csv": "text,label\nhi,red\nhi,red\n", "sample/b.csv": "label,text\nred,hi\nred,ho\n"})
    result = take()
    assert (result["accepted"], result["quarantined"], result["duplicates"]) == (2, 2, 2)
    assert {one["reason"] for one in rows("quarantine")} == {"duplicate_content"}


def test_duplicates_are_counted_apart_from_defects(sample: Path) -> None:
    same = [row(1), row(1), row(1, id="m-9"), row(1, id="ABSENT"), row(1, text="other"), row(2, label="green")]
    (sample / "a.jsonl").write_text("".join(same))
    result = take()
    assert (result["accepted"], result["quarantined"], result["duplicates"]) == (1, 5, 3)
    found = Counter(one["reason"] for one in rows("quarantine"))
    assert found == {"duplicate_row": 1, "duplicate_content": 2, "duplicate_id": 1, "label_unknown": 1}


def test_a_late_file_is_taken_by_the_next_night_with_its_own_day(sample: Path) -> None:
    (sample / "2026-11-19.jsonl").write_text(row(1, at="2026-11-19T10:00:00Z"))
    take("2026-11-19")
    (sample / "2026-11-18.jsonl").write_text(row(2, at=None))
    assert take("2026-11-20")["accepted"] == 1
    assert {(one["row_id"], one["night"], one["day"]) for one in rows("traffic")} == {
        ("m-1", "2026-11-19", "2026-11-19"), ("m-2", "2026-11-20", "2026-11-18"),
    }  # fmt: skip


def test_a_late_file_goes_to_its_own_night_where_that_is_run_anew(sample: Path) -> None:
    (sample / "2026-11-18.jsonl").write_text(row(1, at=None))
    take("2026-11-18")
    (sample / "2026-11-18-more.jsonl").write_text(row(2, at=None))
    (sample / "2026-11-20.jsonl").write_text(row(3))
    assert take("2026-11-20")["accepted"] == 2
    assert take("2026-11-18")["accepted"] == 2
    assert take("2026-11-20")["accepted"] == 1
    assert {(one["row_id"], one["night"]) for one in rows("traffic")} == {
        ("m-1", "2026-11-18"),
        ("m-2", "2026-11-18"),
        ("m-3", "2026-11-20"),
    }


def test_a_file_that_was_mended_replaces_what_the_night_had_of_it(sample: Path) -> None:
    (sample / "a.jsonl").write_text(row(1, text="wrong") + row(2))
    take()
    (sample / "a.jsonl").write_text(row(1, text="right") + row(2))
    result = take()
    assert (result["accepted"], result["quarantined"], len(rows("files"))) == (2, 0, 1)
    assert {one["text"] for one in rows("traffic")} == {"right", "text 2"}


def test_what_changed_in_the_columns_is_told(sample: Path) -> None:
    (sample / "2026-11-19.jsonl").write_text("".join(row(n, at="2026-11-19T10:00:00Z", score=n, kind="web") for n in range(30)))
    assert take("2026-11-19")["schema_drift"] == []
    changed = [row(n, text=f"text {n}", score=f"about {n}", kind="ABSENT", device="web") for n in range(30, 60)]
    (sample / "2026-11-20.jsonl").write_text("".join(changed).replace('"channel"', '"lang"') + row(99, at="2026-11-20T01:00:00Z"))
    found = {(one["change"], one["column"], one["was"], one["is"]) for one in take()["schema_drift"]}
    assert found == {
        ("renamed", "device", "kind", "device"),
        ("renamed", "lang", "channel", "lang"),
        ("retyped", "score", "number", "text"),
    }


def test_a_renamed_column_that_is_mapped_is_named_in_the_refusal(sample: Path) -> None:
    lines = [f"{n},my card number {n} has not come,red,2026-11-19,1\n" for n in range(40)]
    (sample / "2026-11-19.csv").write_text("id,text,label,at,turn\n" + "".join(lines[:20]))
    take("2026-11-19")
    (sample / "2026-11-20.csv").write_text("id,message,label,at,turn\n" + "".join(lines[20:]))
    assert take()["schema_drift"] == [
        {"source": str(sample / "2026-11-20.csv"), "change": "renamed", "column": "message", "was": "text", "is": "message"}
    ]
    assert "'message' looks like 'text': was it renamed? see" in rows("quarantine")[0]["detail"]


def test_a_renamed_key_of_json_rows_is_named_in_each_refusal(sample: Path) -> None:
    made = [row(n, text=f"my card number {n} has not come", at="2026-11-19T10:00:00Z") for n in range(60)]
    (sample / "2026-11-19.jsonl").write_text("".join(made[:30]))
    take("2026-11-19")
    (sample / "2026-11-20.jsonl").write_text("".join(made[30:]).replace('"text"', '"body"'))
    assert take()["quarantined"] == 30
    assert {one["reason"] for one in rows("quarantine")} == {"missing_text"}
    assert all("'body' looks like 'text': was it renamed? see" in one["detail"] for one in rows("quarantine"))


def test_a_killed_ingest_is_repeated_without_doubles_or_losses(sample: Path) -> None:
    """What a kill leaves is a file's rows without its mark: the state is made by taking the mark (and the memo) away."""
    (sample / "a.jsonl").write_text(row(1) + row(2) + "broken\n")
    (sample / "b.jsonl").write_text(row(3))
    take()
    lake = open_night("small", "local", NIGHT).lake
    sha = hashlib.sha256((sample / "a.jsonl").read_bytes()).hexdigest()
    lake.replace("files", [], file=sha)
    lake.replace("memo", [], night=NIGHT)
    result = take()
    assert (result["read"], result["accepted"], result["quarantined"], len(rows("files"))) == (4, 3, 1, 2)
    assert sorted(one["row_id"] for one in rows("traffic")) == ["m-1", "m-2", "m-3"]
    assert [one["reason"] for one in rows("quarantine")] == ["not_json"]


def test_a_mended_contract_reads_the_nights_files_again(house: Callable[..., Path]) -> None:
    house(files={"sample/a.jsonl": row(1) + row(2, label="green")}, sources=[{"path": "sample", "columns": COLUMNS}])
    assert take()["quarantined"] == 1
    house(sources=[{"path": "sample", "columns": COLUMNS}], contract={"labels": ["red", "green"]})
    result = take()
    assert (result["read"], result["accepted"], result["quarantined"]) == (2, 2, 0)
    assert (len(rows("traffic")), len(rows("quarantine")), len(rows("files"))) == (2, 0, 1)


def test_what_a_killed_night_left_is_taken_by_the_next(sample: Path) -> None:
    (sample / "a.jsonl").write_text(row(1))
    take("2026-11-20")
    lake = open_night("small", "local", NIGHT).lake
    lake.replace("files", [], night="2026-11-20")
    lake.replace("memo", [], night="2026-11-20")
    assert take("2026-11-21")["accepted"] == 1
    assert [one["night"] for one in rows("traffic")] == ["2026-11-21"]


def test_a_file_larger_than_a_batch_is_counted_whole(sample: Path) -> None:
    (sample / "a.jsonl").write_text("".join(row(n) for n in range(50_010)) + row(3) + row(50_009, text="other"))
    result = take()
    assert (result["read"], result["accepted"]) == (50_012, 50_010)
    assert {one["reason"] for one in rows("quarantine")} == {"duplicate_row", "duplicate_id"}


def test_nothing_due_and_nothing_taken_is_an_error_that_says_so(sample: Path) -> None:
    (sample / "README.md").write_text("not traffic")
    (sample / ".hidden").write_text("not traffic")
    (sample / "2026-11-25.jsonl").write_text(row(1))
    with pytest.raises(UserError, match="no file that is due on 2026-11-20"):
        take()


def test_a_full_or_forbidden_disk_is_an_error_that_names_the_path(sample: Path) -> None:
    (sample / "a.jsonl").write_text(row(1))
    with pytest.raises(UserError, match=r"/proc/1/.* could not be written|/sys/.* could not be written"):
        Lake("/sys/kernel").append("files", [{"file": "a", "night": NIGHT}])


def test_looking_at_a_file_counts_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    (tmp_path / "a.csv").write_bytes("id;text\r\n1;Grüße\r\n2\r\n".encode("cp1252"))
    assert inspect(str(tmp_path / "a.csv")) == {
        "encoding": "cp1252",
        "dialect": {"delimiter": ";", "quote": '"', "line_end": "CRLF", "header_line": 1},
        "read": 2,
        "accepted": 1,
        "quarantined": {"ragged_row": 1},
    }
    assert not (tmp_path / "state").exists()
    with pytest.raises(UserError, match="is not there"):
        inspect(str(tmp_path / "missing.csv"))
