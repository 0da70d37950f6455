"""What was paid for is found again by whoever needs it, is bounded, and tells why something runs again."""

import datetime
import multiprocessing
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.foundation import memo, upkeep
from pipelines.foundation.lake import Lake
from pipelines.foundation.memo import Calls, Kept
from pipelines.foundation.messages import Reply, Usage
from pipelines.foundation.step import Night, explain, step
from pipelines.sections import Keeping

House = Callable[..., Path]
NIGHT = "2026-11-20"
REPLY = Reply("blue", None, Usage(12, 3, 8), (-0.25, -1.5), 0)


def kept(key: str, text: str = "blue") -> Kept:
    return Kept(key, f"item of {key}", REPLY._replace(text=text), Decimal("0.000165"))


def at(lake: Lake, days_ago: int, *entries: Kept) -> None:
    """Replies that were last used so many days ago."""
    Calls(lake, "scope", "large").keep(entries)
    day = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days_ago)).date().isoformat()
    rows = [row | {"day": day} for row in lake.read("calls", lake.version("calls")).to_pylist() if row["key"] in {e.key for e in entries}]
    for entry in entries:
        lake.delete("calls", f"key = '{entry.key}'")
    lake.append("calls", rows)


def test_a_reply_comes_back_whole_for_the_same_key_and_scope_only(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    Calls(lake, "scope", "large").keep([kept("a")])
    assert Calls(lake, "scope", "large").find(["a", "b"]) == {"a": kept("a")}
    assert Calls(lake, "other", "large").find(["a"]) == {}


def test_what_is_kept_meanwhile_by_the_same_process_is_found(tmp_path: Path) -> None:
    calls = Calls(Lake(str(tmp_path)), "scope", "large")
    calls.keep([kept("a")])
    assert list(calls.find(["a"])) == ["a"]


def _write(root: str, number: int) -> None:
    for part in range(8):
        Calls(Lake(root), "scope", "large").keep([kept(f"{number}-{part}-{row}") for row in range(20)])


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    writers = [multiprocessing.get_context("spawn").Process(target=_write, args=(str(tmp_path), number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    wanted = [f"{number}-{part}-{row}" for number in range(3) for part in range(8) for row in range(20)]
    assert set(Calls(Lake(str(tmp_path)), "scope", "large").find(wanted)) == set(wanted)


def test_a_reply_that_is_used_again_after_a_while_counts_as_used_today(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    at(lake, 30, kept("a"), kept("b"))
    assert Calls(lake, "scope", "large").find(["a"]) == {"a": kept("a")}
    forgotten = memo.forget(lake, Keeping(max_days=20), vacuum_hours=0)
    assert len(forgotten["days"]) == 1
    assert list(Calls(lake, "scope", "large").find(["a", "b"])) == ["a"]


def test_the_least_recently_used_replies_make_room(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for number in range(4):
        at(lake, 4 - number, *(kept(f"{number}-{row}", random.Random(40 * number + row).randbytes(12_000).hex()) for row in range(40)))
    before = sum(upkeep.sizes(lake, "calls", "day").values())
    told = memo.forget(lake, Keeping(max_megabytes=1), vacuum_hours=0)
    left = Calls(lake, "scope", "large").find([f"{number}-0" for number in range(4)])
    assert before > 1_000_000 >= told["megabytes_after"] * 1_000_000 and "3-0" in left and "0-0" not in left
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")) < 1_000_000


def test_the_figures_count_what_is_kept(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    Calls(lake, "scope", "large").keep([kept("a"), kept("b")])
    told = memo.measure(lake)["calls"]
    assert (told["entries"], told["dollars"], told["models"]) == (2, "0.000330", {"large": 2})


@step(code=1, sections=("contract",), extra=lambda night: {"prompt": night.usecase.description})
def ingest(night: Night) -> dict:
    """A first step."""
    return {"read": 1}


@step(code=1, after="ingest", sections=("gate",))
def validate(night: Night) -> dict:
    """A second step."""
    return {"saw": night.before("ingest")["read"]}


def why(*steps: Callable) -> dict[str, tuple[bool, str]]:
    return {told["step"]: (told["runs"], told["why"]) for told in explain(steps, "small", "local", NIGHT)}


def test_a_step_that_never_ran_runs(house: House) -> None:
    house()
    assert why(ingest) == {"ingest": (True, "it never ran for this night")}


def test_an_unchanged_night_runs_nothing_again(house: House) -> None:
    house()
    ingest("small", "local", NIGHT), validate("small", "local", NIGHT)
    assert [runs for runs, _ in why(ingest, validate).values()] == [False, False]


def test_the_part_of_the_key_that_changed_is_named_with_both_values(house: House) -> None:
    house()
    ingest("small", "local", NIGHT), validate("small", "local", NIGHT)
    house(contract={"labels": ["blue", "red"], "min_rows": 7}, description="Another one")
    found = why(ingest, validate)
    assert found["ingest"] == (True, "contract.min_rows was 1, is 7; prompt was A small use case, is Another one")
    assert found["validate"][0] and found["validate"][1].startswith("result of ingest was ")


def test_settings_put_back_are_found_again(house: House) -> None:
    for rows in (1, 7, 1):
        house(contract={"labels": ["blue"], "min_rows": rows})
        ingest("small", "local", NIGHT)
    house(contract={"labels": ["blue"], "min_rows": 7})
    assert not why(ingest)["ingest"][0]


def test_a_secret_is_in_no_part(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARGE_KEY", "sk-very-secret")
    config = house(profile={"endpoints": {"large": {"kind": "openai", "url": "http://x/v1", "model": "m", "key_env": "LARGE_KEY"}}})
    ingest("small", "local", NIGHT)
    written = [path.read_bytes() for path in config.parent.rglob("*") if path.is_file()]
    assert not any(b"sk-very-secret" in content for content in written)


def test_results_that_no_night_stands_on_are_forgotten_with_age(house: House) -> None:
    for rows in (1, 7):
        house(contract={"labels": ["blue"], "min_rows": rows})
        ingest("small", "local", NIGHT)
    lake = Lake(str(house().parent / "state" / "lake" / "small"))
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=100)
    rows = lake.read("memo", lake.version("memo")).to_pylist()
    lake.replace("memo", [row | {"at": row["at"].replace(year=old.year, month=old.month)} for row in rows], night=NIGHT)
    assert memo.forget(lake, Keeping(max_days=30), vacuum_hours=0)["uses"] == 1
    [left] = lake.read("memo", lake.version("memo")).to_pylist()
    assert '"min_rows": 7' in left["parts"] or '"contract.min_rows": "7"' in left["parts"]
