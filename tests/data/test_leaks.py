"""Which test rows stand in the training file: exactly, but for punctuation, or nearly."""

import csv
import gzip
import hashlib
import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.data.leaks import find_leaks, render
from pipelines.errors import UserError
from pipelines.foundation import text
from pipelines.settings import ROOT

DATA = ROOT.parent / "shared" / "data"
LONG = "my card was declined at the shop in the harbour this morning although there was money on the account"
TRAIN = ["Where is my card", "why was my top-up reverted?", LONG, "nothing of this is sealed"]


def write(path: Path, rows: list[str], column: str = "text") -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["id", column], *([number, row] for number, row in enumerate(rows))])
    return str(path)


def counts(found: dict) -> tuple[int, int, int]:
    return found["exact"], found["normalised"], found["near"]


def test_each_count_holds_the_one_before_and_a_row_is_told_once_by_its_strongest_kind(tmp_path: Path) -> None:
    test = ["WHERE IS MY CARD", "where is my card?", "Why was my top up reverted", LONG.replace("harbour", "town"), "what is my balance"]
    found = find_leaks(write(tmp_path / "a.csv", [*TRAIN, "where is my card!!", LONG]), write(tmp_path / "b.csv", test))
    assert counts(found) == (1, 3, 4)
    told = [(pair["kind"], pair["train_line"], pair["test_line"]) for pair in found["pairs"]]
    assert told == [("exact", 2, 2), ("normalised", 2, 3), ("normalised", 3, 4), ("near", 4, 5)]
    assert 0.8 <= found["pairs"][3]["similarity"] < 1


def test_the_nearest_train_row_is_named(tmp_path: Path) -> None:
    far, near = LONG.replace("harbour", "town"), LONG.replace("account", "card")
    found = find_leaks(write(tmp_path / "a.csv", [far, near]), write(tmp_path / "b.csv", [LONG]))
    assert [(pair["train"], pair["test"]) for pair in found["pairs"]] == [(near, LONG)]


def test_a_file_against_itself_leaks_every_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TRAIN)
    assert counts(find_leaks(path, path)) == (4, 4, 4)


def test_files_of_every_kind_are_read_and_refused_rows_are_counted(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    lines = [{"prompt": LONG}, {"prompt": None}, {"prompt": 3}, {"other": "x"}]
    packed = tmp_path / "train.jsonl.gz"
    packed.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"{broken\n"))
    parquet.write_table(pa.table({"utterance": [LONG], "label": ["a"]}), tmp_path / "test.parquet")
    found = find_leaks(str(packed), str(tmp_path / "test.parquet"))
    assert (counts(found), found["train_rows"], found["test_rows"], found["test_column"]) == ((1, 1, 1), 5, 1, "utterance")
    assert found["train_refused"] == {"not_a_text": 1, "not_json": 1, "text_missing": 2}


def test_the_only_column_of_several_words_is_the_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TRAIN, column="what she said")
    assert find_leaks(path, path)["train_column"] == "what she said"


def test_a_file_without_a_text_names_the_columns_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("number,kind\n1,a\n2,b\n")
    with pytest.raises(UserError, match="the columns found are 'number', 'kind'"):
        find_leaks(str(tmp_path / "a.csv"), str(tmp_path / "a.csv"))
    with pytest.raises(UserError, match="there is no file"):
        find_leaks("nowhere.csv", write(tmp_path / "b.csv", TRAIN))


def test_the_command_prints_json_and_people_are_told_of_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = write(tmp_path / "a.csv", TRAIN), write(tmp_path / "b.csv", [TRAIN[1].upper()])
    assert main(["leaks", "--train", train, "--test", test, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert counts(printed) == (1, 1, 1)
    assert "exact 1.00: test line 2, train line 3" in render(printed)


def test_the_counts_are_those_of_comparing_every_pair(tmp_path: Path) -> None:
    draw = random.Random(1)
    train = [" ".join(draw.choices(LONG.split(), k=draw.randint(1, 12))) for _ in range(300)]
    test = [" ".join(word for word in draw.choice(train).split() if draw.random() < 0.97) + draw.choice(["", "!"]) for _ in range(200)]
    found = find_leaks(write(tmp_path / "a.csv", train), write(tmp_path / "b.csv", test))
    assert counts(found) == compare(train, test)


def compare(train: list[str], test: list[str]) -> tuple[int, int, int]:
    """Every test row with every train row."""
    kinds: Counter[str] = Counter()
    exact, normal = {row.strip().lower() for row in train}, {text.normalise(row) for row in train}
    sets = [text.shingles(row) for row in train]
    for row in test:
        if row.strip().lower() in exact:
            kinds["exact"] += bool(row.strip())
        elif text.words(row) and text.normalise(row) in normal:
            kinds["normalised"] += 1
        elif text.words(row):
            mine = text.shingles(row)
            kinds["near"] += any(text.jaccard(mine, other) >= 0.8 for other in sets)
    held = itertools.accumulate(kinds[kind] for kind in ("exact", "normalised", "near"))
    return tuple(held)


def test_the_public_banking_rows_have_the_repeats_that_are_known_of_them(tmp_path: Path) -> None:
    path = DATA / "banking77" / "train.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    assert len(rows) - len({row.strip().lower() for row in rows}) == 4  # what its source says: four repeats after lower-casing
    sealed = [hashlib.sha256(row.encode()).digest()[0] < 5 for row in rows]
    train, test = ([row for row, is_sealed in zip(rows, sealed, strict=True) if is_sealed == side] for side in (False, True))
    found = find_leaks(write(tmp_path / "a.csv", train), write(tmp_path / "b.csv", test))
    assert counts(found) == compare(train, test)


def test_the_public_airline_turns_leak_as_is_known_of_them() -> None:
    folder = DATA / "multidogo" / "airline"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    found = find_leaks(str(folder / "train.tsv"), str(folder / "test.tsv"))
    long = [pair for pair in found["pairs"] if pair["kind"] == "exact" and len(pair["test"].split()) >= 6]
    assert (len(long), found["test_rows"]) == (311, 3931)  # what its source says: 311 of 895 turns of six words or more
