"""Train rows that match sealed or off-limits ones: what stops the night, what is left out, and what is no matter."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import NightStopped, UserError
from pipelines.foundation import contamination
from pipelines.foundation.step import Night, open_night
from tests.release.nights import remember

House = Callable[..., Path]
TODAY, BEFORE = "2026-11-20", "2026-11-19"
LONG = "my card was declined at the shop in the harbour this morning although there was money on the account"
NEAR = LONG.replace("harbour", "station")
OTHER = "how do I change the address that my statements are sent to"


def example(name: str, prompt: str, side: str = "train", night: str = TODAY, source: str = "traffic") -> dict:
    return {"example_id": name, "prompt": prompt, "split": side, "night": night, "source": source}


def stored(*rows: dict) -> Night:
    """A night on whose lake these examples are."""
    night = open_night("small", "local", TODAY)
    version = None
    for day in (BEFORE, TODAY):
        version = night.lake.replace("examples", [row for row in rows if row["night"] == day], night=day)
    remember(night, "split", {"examples": version})
    return night


def crossings(*rows: dict) -> list[tuple[str, str, str]]:
    night = stored(*rows)
    found = contamination.find_crossings(night, night.lake.version("examples"))
    return [(example_id, match.where, match.kind) for example_id, _, match in found]


@pytest.mark.parametrize(
    ("sealed", "kind"), [(LONG.upper(), "exact"), (f"{LONG}?!", "normalised"), (NEAR, "near"), (OTHER, None), ("", None)]
)
def test_a_train_row_that_matches_a_sealed_one_is_found_by_kind(house: House, sealed: str, kind: str | None) -> None:
    house()
    assert crossings(example("a", LONG), example("b", sealed, "test")) == ([("a", "b", kind)] if kind else [])


def test_rows_of_one_side_may_be_the_same(house: House) -> None:
    house()
    assert crossings(example("a", LONG), example("b", NEAR), example("c", OTHER, "test"), example("d", OTHER, "test")) == []


@pytest.mark.parametrize("source", ["traffic", "synthetic"])
@pytest.mark.parametrize("prompt", [LONG, NEAR])
def test_tonights_row_that_matches_a_sealed_one_stops_the_night_and_no_text_is_told(house: House, source: str, prompt: str) -> None:
    house()
    night = stored(example("sealed", LONG, "test", BEFORE))
    with pytest.raises(NightStopped, match="wrong with sealed") as stopped:
        contamination.check(night, [example("sound", OTHER), example("wrong", prompt, source=source)])
    assert "sound" not in str(stopped.value) and "harbour" not in str(stopped.value)


def test_near_rows_of_earlier_nights_are_left_out_for_the_threshold_may_have_been_another(house: House) -> None:
    house()
    night = stored(example("sealed", LONG, "test", BEFORE))
    assert contamination.check(night, [example("sound", OTHER), example("old", NEAR, night=BEFORE)]) == [example("sound", OTHER)]
    with pytest.raises(NightStopped, match="old with sealed"):
        contamination.check(night, [example("old", f"{LONG}!", night=BEFORE)])


def test_a_sealed_row_that_came_to_match_an_old_synthetic_one_is_nobodys_mistake(house: House) -> None:
    house()
    night = stored(example("sealed", LONG, "test"))
    assert contamination.check(night, [example("made", LONG, night=BEFORE, source="synthetic")]) == []


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_an_off_limits_text_is_found_in_a_turn_and_file_and_line_are_named(house: House, name: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    folder = house(split={"off_limits": [name]}) / "usecases/small"
    rows = [{"text": OTHER}, {"text": LONG}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if name.endswith("parquet"):
        parquet.write_table(pa.Table.from_pylist(rows), folder / name)
    else:
        written = f"text\n{OTHER}\n{LONG}\n".encode() if name.endswith("csv") else lines
        (folder / name).write_bytes(gzip.compress(written) if name.endswith("gz") else written)
    night = stored(example("sealed", "what is this", "test"))
    line = 3 if name.endswith("csv") else 2
    with pytest.raises(NightStopped, match=f"{name}:{line} \\(normalised"):
        contamination.check(night, [example("a", f"Customer: hello\nAgent: yes?\nCustomer: {LONG}!")])
    assert contamination.check(night, [example("a", LONG, night=BEFORE)]) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "was found nowhere"),
        ("question\nhi\n", "column text is missing; found: question"),
        ("text\n", "holds no rows"),
        ("text\na b\n  \n", "line 3"),
    ],
)
def test_a_wrong_off_limits_file_is_a_mistake_that_is_told(house: House, content: str | None, told: str) -> None:
    house({"t.csv": content} if content else {}, split={"off_limits": ["t.csv"]})
    night = stored(example("sealed", LONG, "test"))
    with pytest.raises(UserError, match=told) as mistake:
        contamination.check(night, [example("a", OTHER)])
    assert "split.off_limits[0]" in str(mistake.value)
