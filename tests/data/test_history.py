"""A night is compared with the nights before it: how many rows they had, and the contract they were held to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.data.ingest import ingest
from pipelines.data.validate import validate
from pipelines.errors import NightStopped

LENGTH = {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3}}


def report(tmp_path: Path, night: str) -> str:
    return (tmp_path / "state/reports/small" / night / "validation.html").read_text()


def nights(house: Callable[..., Path], counts: list[int], **contract: object) -> list[dict]:
    """Validate one night after another, each with so many rows."""
    found = []
    for day, count in enumerate(counts, start=1):
        night = f"2026-11-{day:02d}"
        rows = [{"text": f"message {night} {n}", "label": "red"} for n in range(count)]
        house(files={f"sample/{night}.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}, contract={"labels": ["red"]} | contract)
        ingest("small", "local", night)
        found.append(validate("small", "local", night))
    return found


@pytest.mark.parametrize(("last", "told"), [(4, "4 rows, 0.40 times the median 10 of 4 nights"), (21, "21 rows, 2.10 times")])
def test_a_night_much_smaller_or_larger_than_the_last_ones_stops(house: Callable[..., Path], last: int, told: str) -> None:
    with pytest.raises(NightStopped, match=f"volume: expected 0.5 to 2 times the median of the last 7 nights; observed {told}"):
        nights(house, [10, 10, 12, 5, last], volume={"nights": 7})


def test_volume_is_not_judged_before_three_nights(house: Callable[..., Path], tmp_path: Path) -> None:
    assert [night["accepted"] for night in nights(house, [10, 1, 40], volume={"nights": 7})] == [10, 1, 40]
    assert "not judged: 2 night(s) were validated before" in report(tmp_path, "2026-11-03")


def test_an_unchanged_contract_has_the_same_hash_and_is_kept_with_every_night(house: Callable[..., Path], tmp_path: Path) -> None:
    first, second = nights(house, [3, 3], max_age_days=30)
    assert (first["contract_changed"], second["contract_changed"], second["contract"]) == ([], [], first["contract"])
    assert (
        "max_age_days: 30" in Path(second["contract_file"]).read_text() and second["contract"] in Path(second["contract_file"]).read_text()
    )
    assert 'href="contract.yaml"' in report(tmp_path, "2026-11-02") and "as on the night before it" in report(tmp_path, "2026-11-02")
    assert "no night was validated before it" in report(tmp_path, "2026-11-01")


def test_the_keys_that_changed_since_the_last_validated_night_are_named(house: Callable[..., Path], tmp_path: Path) -> None:
    nights(house, [3])
    house(
        files={"sample/2026-11-02.jsonl": '{"text": "another message", "label": "red"}\n'},
        contract={"labels": ["red"], "rows": [LENGTH], "min_rows": 0},
    )
    ingest("small", "local", "2026-11-02")
    assert validate("small", "local", "2026-11-02")["contract_changed"] == ["min_rows", "rows"]
    assert "since the night before it changed: min_rows, rows" in report(tmp_path, "2026-11-02")
