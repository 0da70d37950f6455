"""What every step shares: strings in, a small dict out, nothing done twice."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation.step import Night, open_night, results, step

NIGHT = "2026-11-20"
House = Callable[..., Path]
calls: list[str] = []


@step(code=1, sections=("contract",))
def ingest(night: Night) -> dict:
    """A first step."""
    calls.append(night.night)
    return {"read": len(calls)}


@step(code=1, after="ingest")
def validate(night: Night) -> dict:
    """A second step."""
    calls.append("validate")
    return {"saw": night.before("ingest")["read"]}


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def test_a_step_takes_three_strings_as_airflow_hands_them_over(house: House) -> None:
    assert list(inspect.signature(ingest).parameters) == ["usecase", "profile", "night"]
    assert (ingest.__name__, ingest.__doc__) == ("ingest", "A first step.")


def test_the_same_inputs_do_nothing_again(house: House) -> None:
    house()
    first, second = (ingest("small", "local", NIGHT) for _ in range(2))
    assert (first["memo"], second["memo"], len(calls)) == (False, True, 1)
    assert second["read"] == first["read"]


def test_a_changed_setting_runs_the_step_and_those_after_it(house: House) -> None:
    house()
    for _ in range(2):
        ingest("small", "local", NIGHT), validate("small", "local", NIGHT)
    house(contract={"labels": ["blue", "red", "green"]})
    ingest("small", "local", NIGHT), validate("small", "local", NIGHT)
    assert calls == [NIGHT, "validate"] * 2


def test_settings_put_back_find_the_old_result_and_the_night_stands_on_it(house: House) -> None:
    for labels in (["blue", "red"], ["blue"], ["blue", "red"]):
        house(contract={"labels": labels})
        ingest("small", "local", NIGHT)
    assert len(calls) == 2
    assert results(open_night("small", "local", NIGHT).lake, NIGHT)["ingest"]["read"] == 1


def test_a_step_whose_predecessor_has_not_run_says_which_command_to_run(house: House) -> None:
    house()
    with pytest.raises(UserError, match="python -m pipelines ingest --usecase small --night 2026-11-20"):
        validate("small", "local", NIGHT)


def test_a_result_whose_inputs_have_changed_counts_as_not_run(house: House) -> None:
    house()
    ingest("small", "local", NIGHT), validate("small", "local", NIGHT)
    house(contract={"labels": ["blue"]})
    ingest("small", "local", NIGHT)
    found = open_night("small", "local", NIGHT)
    assert set(results(found.lake, NIGHT)) == {"ingest"}
    with pytest.raises(UserError, match="validate has not run"):
        found.before("validate")


def test_a_night_that_is_no_date_is_refused(house: House) -> None:
    house()
    with pytest.raises(UserError, match="YYYY-MM-DD"):
        ingest("small", "local", "yesterday")
