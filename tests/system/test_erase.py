"""Erasure, legal hold and retention on small tables: what goes, what stays, and what happens when something comes between."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.data.ingest import ingest
from pipelines.errors import UserError
from pipelines.foundation import ledger, records
from pipelines.foundation.lake import Lake
from pipelines.foundation.step import open_night
from pipelines.settings import ROOT
from pipelines.system import person
from pipelines.system.erase import erase, erase_requested, request
from pipelines.system.hold import hold
from pipelines.system.housekeeping import tidy
from tests.searching import mentions

if TYPE_CHECKING:
    from botocore.client import BaseClient

House = Callable[..., Path]
NIGHT = "2026-11-20"
COLUMNS = {"row_id": "id", "subject_id": "who", "conversation_id": "talk", "text": "text", "label": "label"}
SOURCES = [{"path": "sample", "columns": COLUMNS}]
ANNA, BEN = "anna-4711", "ben-4712"
LINES = [
    {"id": "r1", "who": ANNA, "talk": "t1", "text": "the wisteria key of my flat is lost", "label": "red"},
    {"id": "r2", "who": BEN, "talk": "t2", "text": "where is the blue lamp that I ordered", "label": "blue"},
    {"id": "r3", "who": None, "talk": "t1", "text": "and the wisteria box as well", "label": "red"},
    {"id": "r4", "who": BEN, "talk": "t3", "text": "thanks", "label": "blue"},
]


def told(lines: list[dict]) -> str:
    return "\n".join(map(json.dumps, lines)) + "\n"


@pytest.fixture
def lake(house: House) -> Lake:
    """A night that was taken in, and rows of the later tables that came from it."""
    house(sources=SOURCES, files={f"sample/{NIGHT}.jsonl": told(LINES)})
    ingest("small", "local", NIGHT)
    lake = open_night("small", "local", NIGHT).lake
    derive(lake)
    return lake


def derive(lake: Lake) -> None:
    """What the later steps make of these rows."""
    rows = {row["row_id"]: row for row in lake.read("traffic", lake.version("traffic")).to_pylist()}
    lake.append("clean", list(rows.values()))
    common = {"group_id": "g", "night": NIGHT, "day": NIGHT, "source": "traffic", "split": "train"}
    examples = [
        {"example_id": "e1", "subject_id": ANNA, "prompt": rows["r1"]["text"], "rows": '["r1"]'},
        {"example_id": "e2", "subject_id": BEN, "prompt": rows["r2"]["text"], "rows": '["r2"]'},
        {"example_id": "e3", "subject_id": None, "prompt": "the wisteria key\nand the wisteria box as well", "rows": '["r1", "r3"]'},
    ]
    lake.append("examples", [row | common for row in examples])
    made = [
        {"example_id": "s1", "parent_id": "e1", "prompt": "a wisteria key went missing"},
        {"example_id": "s2", "parent_id": "s1", "prompt": "gone is the wisteria key"},
        {"example_id": "s3", "parent_id": "e2", "prompt": "a lamp, shown with the wisteria", "shown": '["e1"]'},
        {"example_id": "s4", "parent_id": "e2", "prompt": "no lamp came"},
    ]
    lake.append("synthetic", [row | common | {"source": "synthetic"} for row in made])
    ids = ("e1", "e2", "e3", "s1", "s4")
    lake.append("trained", [{"night": NIGHT, "model": "m1", "example_id": example} for example in ids])
    lake.append("trained", [{"night": NIGHT, "model": "m2", "example_id": "e2"}])
    answers = [{"example_id": "e1", "response": "wisteria"}, {"example_id": "e2", "response": "lamp"}]
    lake.append("predictions", [answer | {"night": NIGHT, "model": "m1"} for answer in answers])
    lake.append(
        "calls", [{"day": NIGHT, "scope": "s", "key": item, "item": item, "reply": item, "dollars": "0"} for item in ("e1 e2", "e2")]
    )


def left(lake: Lake, table: str, column: str) -> list[str]:
    return sorted(str(value) for value in lake.read(table, lake.version(table), [column])[column].to_pylist())


def test_everything_that_came_from_the_person_goes_and_nothing_else(lake: Lake, tmp_path: Path) -> None:
    certificate = erase("small", "local", ANNA)
    assert left(lake, "traffic", "row_id") == left(lake, "clean", "row_id") == ["r2", "r4"]
    assert left(lake, "examples", "example_id") == ["e2"] and left(lake, "synthetic", "example_id") == ["s4"]
    assert left(lake, "predictions", "example_id") == ["e2"] and left(lake, "calls", "item") == ["e2"]
    assert [model["key"] for model in certificate["models"]] == ["m1"]
    assert certificate["removed"] | {"traffic": 2, "examples": 2, "synthetic": 3} == certificate["removed"]
    assert mentions(tmp_path, [ANNA, "wisteria"]) == {ANNA: [], "wisteria": []}


def test_the_other_rows_of_a_file_keep_their_bytes_and_the_file_is_not_taken_again(lake: Lake, tmp_path: Path) -> None:
    before = ingest("small", "local", NIGHT)
    erase("small", "local", ANNA)
    [file] = (tmp_path / "config").rglob(f"{NIGHT}.jsonl")
    assert file.read_text() == "\n" + told(LINES[1:2]) + "\n" + told(LINES[3:])
    after = ingest("small", "local", NIGHT)
    assert (before["read"], after["read"], after["accepted"], after["quarantined"]) == (4, 2, 2, 0)


@pytest.mark.parametrize("subject", ["nobody-1", "anna-47", "x' OR '1'='1"])
def test_a_subject_of_whom_nothing_is_there_is_refused_and_leaves_no_trace(lake: Lake, tmp_path: Path, subject: str) -> None:
    versions = {table: lake.version(table) for table in records.TABLES}
    with pytest.raises(UserError, match="no row of the subject"):
        erase("small", "local", subject)
    assert {table: lake.version(table) for table in records.TABLES} == versions
    assert ledger.entries(lake) == []


def test_a_legal_hold_wins_over_an_erasure_until_it_is_released(lake: Lake) -> None:
    hold("small", "local", ANNA, "case 17", False, "eve")
    assert hold("small", "local", ANNA, "again", False, "eve")["why"] == "case 17"
    with pytest.raises(UserError, match=r"legal hold .*case 17.*wins over the erasure"):
        erase("small", "local", ANNA)
    assert "r1" in left(lake, "traffic", "row_id")
    hold("small", "local", ANNA, "case closed", True, "eve")
    assert erase("small", "local", ANNA)["removed"]["traffic"] == 2
    assert ANNA not in json.dumps([entry.body for entry in ledger.entries(lake)])


def test_a_hold_needs_a_reason_and_a_release_needs_a_hold(lake: Lake) -> None:
    with pytest.raises(UserError, match="reason"):
        hold("small", "local", ANNA, " ", False, "eve")
    with pytest.raises(UserError, match="nothing to release"):
        hold("small", "local", ANNA, "x", True, "eve")


def test_requests_are_worked_off_and_forgotten_but_for_those_under_a_hold(lake: Lake, tmp_path: Path) -> None:
    first = request("small", "local", ANNA)
    assert request("small", "local", ANNA)["id"] == first["id"]
    held = request("small", "local", BEN)
    unknown = request("small", "local", "carl-1")
    hold("small", "local", BEN, "case 18", False, "eve")
    found = erase_requested("small", "local")
    assert (found["done"], found["held"], found["unknown"]) == ([first["id"]], [held["id"]], [unknown["id"]])
    assert left(lake, "requests", "subject_id") == [BEN] and left(lake, "requests", "state") == ["held"]
    assert found["alerts"] == [] and found["retrain"] == ""
    assert mentions(tmp_path, [ANNA, "carl-1"]) == {ANNA: [], "carl-1": []}
    hold("small", "local", BEN, "closed", True, "eve")
    assert erase_requested("small", "local")["done"] == [held["id"]]
    assert mentions(tmp_path, [BEN]) == {BEN: []}


def test_a_request_that_could_not_be_worked_on_is_kept(lake: Lake, house: House) -> None:
    asked = request("small", "local", ANNA)
    house(sources=SOURCES, safety={"prompts": [{"path": "nowhere.csv"}]})
    with pytest.raises(UserError, match=r"nowhere\.csv"):
        erase_requested("small", "local")
    assert left(lake, "requests", "id") == [asked["id"]]
    house(sources=SOURCES)
    assert erase_requested("small", "local")["done"] == [asked["id"]]


def test_two_erasures_at_once_end_in_one(lake: Lake) -> None:
    found: list[dict] = []
    threads = [threading.Thread(target=lambda: found.append(erase("small", "local", ANNA))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0]["id"] == found[1]["id"]
    assert [entry.kind for entry in ledger.entries(lake)] == ["erasure", "erased"]


def test_an_erasure_waits_for_the_step_that_runs(lake: Lake) -> None:
    ended = []
    with lake.shared():
        thread = threading.Thread(target=lambda: ended.append(erase("small", "local", ANNA)["id"]))
        thread.start()
        time.sleep(1)
        assert not ended and left(lake, "traffic", "row_id") == ["r1", "r2", "r3", "r4"]
    thread.join()
    assert ended


def test_an_erasure_that_is_killed_anywhere_is_taken_up_by_the_next_one(lake: Lake, tmp_path: Path) -> None:
    """The models stay barred though the rows that led to them were gone when it went on."""
    code = f"from pipelines.system.erase import erase; erase('small', 'local', {ANNA!r})"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    whole = 6.0
    killed = 0
    for share in (0.3, 0.5, 0.7, 0.8, 0.9):
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(whole * share)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
    certificate = erase("small", "local", ANNA)
    assert killed
    assert [model["key"] for model in certificate["models"]] == ["m1"]
    assert mentions(tmp_path, [ANNA, "wisteria"]) == {ANNA: [], "wisteria": []}
    assert left(lake, "traffic", "row_id") == ["r2", "r4"] and left(lake, "requests", "id") == []


def test_what_a_kill_at_the_very_end_leaves_of_the_request_is_taken_away_by_the_next_call(lake: Lake, tmp_path: Path) -> None:
    first = erase("small", "local", ANNA)
    lake.append("requests", [{"day": NIGHT, "id": first["id"], "subject_id": ANNA, "state": "running"}])
    lake.delete("requests", f"id = '{first['id']}'")  # and no more: its row is gone, its history is not
    assert mentions(tmp_path, [ANNA])[ANNA]
    assert erase("small", "local", ANNA)["removed"] == first["removed"]
    assert mentions(tmp_path, [ANNA]) == {ANNA: []}


def test_a_certificate_that_was_written_stands_when_its_erasure_goes_on(lake: Lake) -> None:
    first = erase("small", "local", ANNA)
    lake.append("requests", [{"day": NIGHT, "id": first["id"], "subject_id": ANNA, "state": "running"}])
    assert erase("small", "local", ANNA)["removed"] == first["removed"]
    assert [entry.kind for entry in ledger.entries(lake)] == ["erasure", "erased"] and left(lake, "requests", "id") == []


def test_an_older_version_is_read_as_the_oldest_that_is_kept(lake: Lake) -> None:
    old = lake.version("traffic")
    erase("small", "local", ANNA)
    assert old is not None and sorted(lake.read("traffic", old, ["row_id"])["row_id"].to_pylist()) == ["r2", "r4"]


def test_a_file_that_is_gone_or_pinned_is_named_in_the_certificate(house: House, tmp_path: Path) -> None:
    import hashlib

    content = told(LINES)
    pinned = SOURCES[0] | {"path": "pinned.jsonl", "sha256": hashlib.sha256(content.encode()).hexdigest()}
    house(sources=[pinned, SOURCES[0]], files={"pinned.jsonl": content, "sample/more.jsonl": told([LINES[0] | {"id": "r9"}])})
    ingest("small", "local", NIGHT)
    [gone] = (tmp_path / "config").rglob("more.jsonl")
    gone.write_text(told([LINES[1] | {"id": "r10"}]))
    left_over = erase("small", "local", ANNA)["left"]
    assert len(left_over) == 2 and "pins" in left_over[0] and "not among the sources" in left_over[1]


def test_rows_of_an_erased_person_do_not_come_back_but_new_ones_may(lake: Lake, tmp_path: Path) -> None:
    erase("small", "local", ANNA)
    [folder] = {path.parent for path in (tmp_path / "config").rglob(f"{NIGHT}.jsonl")}
    (folder / "backup.jsonl").write_text(told(LINES[:1]))
    result = ingest("small", "local", NIGHT)
    assert (result["accepted"], result["quarantined"]) == (2, 1)
    [refused] = lake.read("quarantine", lake.version("quarantine")).to_pylist()
    assert refused["reason"] == "erased_subject" and refused["raw"] == "" and ANNA not in refused["detail"]


def test_every_table_is_reached_by_an_erasure_or_says_why_not() -> None:
    missing = set(records.TABLES) - set(person.REACH) - set(person.UNREACHED)
    assert not missing, f"{missing}: say in pipelines/system/person.py by which column a person's rows are found"
    for table, (_, column) in person.REACH.items():
        assert column in records.TABLES[table], f"person.REACH: {table} has no column {column}"


def test_rows_leave_when_their_time_is_up_but_not_under_a_legal_hold(house: House) -> None:
    house(sources=SOURCES, files={f"sample/{NIGHT}.jsonl": told(LINES)}, retention={"days": {"traffic": 30, "examples": 30}})
    ingest("small", "local", NIGHT)
    lake = open_night("small", "local", NIGHT).lake
    derive(lake)
    for table in ("traffic", "examples"):
        lake.update(table, "TRUE", night="2020-01-01")
    hold("small", "local", ANNA, "case 17", False, "eve")
    assert tidy("small", "local")["retired"] == {"traffic": 2, "examples": 1}
    assert left(lake, "traffic", "row_id") == ["r1", "r3"] and left(lake, "examples", "example_id") == ["e1", "e3"]
    assert len(left(lake, "clean", "row_id")) == 4


def test_on_s3_the_objects_their_older_versions_and_the_tables_lose_the_person(s3: "BaseClient", house: House) -> None:
    s3.create_bucket(Bucket="bank")
    s3.put_bucket_versioning(Bucket="bank", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="bank", Key=f"in/{NIGHT}.jsonl", Body=told(LINES).encode())
    house(sources=[{"path": "s3://bank/in/", "columns": COLUMNS}], profile={"lake": "s3://bank/lake"})
    ingest("small", "local", NIGHT)
    lake = open_night("small", "local", NIGHT).lake
    derive(lake)
    certificate = erase("small", "local", ANNA)
    assert certificate["files"] == [{"file": f"s3://bank/in/{NIGHT}.jsonl", "rows": 2}] and certificate["removed"]["traffic"] == 2
    versions = s3.list_object_versions(Bucket="bank", Prefix="in/")["Versions"]
    assert [s3.get_object(Bucket="bank", Key=found["Key"], VersionId=found["VersionId"])["Body"].read() for found in versions] == [
        ("\n" + told(LINES[1:2]) + "\n" + told(LINES[3:])).encode()
    ]
    assert ingest("small", "local", NIGHT)["accepted"] == 2
