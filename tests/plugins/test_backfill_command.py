"""`make backfill`, up to where Airflow is asked, and what it prints of a night; the real one is in tests/integration."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins import backfill

House = Callable[..., Path]
RUN = {"logical_date": "2026-11-21T02:00:00Z", "state": "success", "duration": 41.3}


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        pytest.param("2026-11-20", "2026-11-07", "--from 2026-11-20 is later than --to 2026-11-07", id="backwards"),
        pytest.param("", "2026-11-07", "night '' is not a date", id="no date"),
        pytest.param("2026-11-07", "2026-11-20", "Airflow is not up: `make up` starts it", id="not up"),
    ],
)
def test_a_mistake_is_one_message(house: House, capsys: pytest.CaptureFixture[str], first: str, last: str, said: str) -> None:
    house()
    assert backfill.main(["--usecase", "small", "--from", first, "--to", last]) == 2
    assert said in capsys.readouterr().err


def test_a_night_is_worked_on_by_the_run_of_the_day_after() -> None:
    asked = backfill.reach("small", "2026-11-07", "2026-11-20")
    assert asked == ("nightly__small", "2026-11-08T00:00:00Z", "2026-11-21T23:59:59Z")
    dates = ("2026-11-21T02:00:00Z", "2026-11-21T23:30:00+00:00", "2026-11-21T01:00:00+03:00")
    assert [backfill.night_of(date) for date in dates] == ["2026-11-20", "2026-11-20", "2026-11-19"]


def test_a_line_tells_what_a_night_decided_and_what_it_cost() -> None:
    results = {
        "evaluate": {"memo": False, "model_calls": 40},
        "split": {"memo": True, "model_calls": 9},
        "gate": {"memo": False, "verdict": "PROMOTE"},
        "promote": {"memo": False, "champion_version": "3", "why": "a later night has promoted already: version 3, on 2026-11-21"},
    }
    told = " ".join(backfill.line(RUN, results).split())
    assert told.startswith("2026-11-20 success PROMOTE champion: version 3 41 s 40 model calls, 1 of 4 steps from the memo; a later night")
    assert "no verdict" in backfill.line(RUN | {"state": "failed", "duration": None}, {})
