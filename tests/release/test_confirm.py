"""From staging to champion on fresh rows, night by night."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.foundation import ledger, registry
from pipelines.foundation.step import open_night
from pipelines.release.confirm import confirm
from pipelines.release.promote import promote
from tests.release.candidates import night_with
from tests.release.nights import binary, evaluated

House = Callable[..., Path]
FIRST, SECOND, LAST = "2026-11-10", "2026-11-14", "2026-11-18"


@pytest.fixture
def staged(house: House) -> Callable[..., dict | None]:
    """Version 1 is in staging since FIRST; `staged(night, wins, losses, n)` is the evidence on a later night."""
    house(staging={"max_nights": 7, "min_items": 50, "margin": 0.1})
    night_with("PROMOTE", FIRST)
    promote("small", "local", FIRST)

    def look(date: str, n: int, losses: int, wins: int) -> dict | None:
        night = open_night("small", "local", date)
        stage = registry.staging(night)
        assert stage is not None and (stage.model.version, stage.night) == ("1", FIRST)
        rows = {"accuracy": binary(n, losses, wins, offset=5000)}
        evaluated(night, {"accuracy": binary(100, 0, 0)}, staged=rows, staged_model=stage.model.key)
        return confirm(night)

    return look


def aliases() -> dict[str, str]:
    found = registry.client(open_night("small", "local", LAST)).get_registered_model("small").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_a_first_verdict_leads_to_staging_and_not_to_the_throne(staged: Callable) -> None:
    assert aliases() == {"candidate": "1", "staging": "1"}
    entry = ledger.entries(open_night("small", "local", LAST).lake)[-1]
    assert (entry.kind, entry.body["version"], entry.body["verdict"]) == ("staging", "1", "PROMOTE")


@pytest.mark.parametrize(
    ("night", "n", "losses", "wins", "verdict", "why"),
    [
        (SECOND, 400, 6, 8, "CONFIRM", "within the margin"),
        (SECOND, 40, 0, 0, "WAIT", "4 of 7 nights"),
        (SECOND, 400, 160, 0, "DROP", "shown worse than the margin on fresh rows: accuracy"),
        (LAST, 40, 2, 2, "DROP", "not confirmed within 7 nights"),
    ],
)
def test_fresh_rows_decide(staged: Callable, night: str, n: int, losses: int, wins: int, verdict: str, why: str) -> None:
    found = staged(night, n, losses, wins)
    assert (found["verdict"], found["version"], found["since"]) == (verdict, "1", FIRST)
    assert why in found["why"]
    assert found["metrics"]["accuracy"]["n"] == n


def test_a_confirmed_model_becomes_the_champion_with_its_own_evidence(staged: Callable) -> None:
    evidence = staged(SECOND, 400, 6, 8)
    night_with("PROMOTE", SECOND, staging=evidence)
    found = promote("small", "local", SECOND)
    assert (found["moved"], found["champion_version"], found["staging_version"]) == ("champion", "1", None)
    assert "the verdict is on the champion before it" in found["why"]
    assert aliases() == {"candidate": "2", "champion": "1"}
    entry = ledger.entries(open_night("small", "local", LAST).lake)[-1]
    assert (entry.kind, entry.body["evidence"]["verdict"]) == ("promotion", "CONFIRM")


def test_a_dropped_model_makes_room_for_tonights(staged: Callable) -> None:
    evidence = staged(SECOND, 400, 160, 0)
    night_with("PROMOTE", SECOND, staging=evidence)
    found = promote("small", "local", SECOND)
    assert (found["moved"], found["champion_version"], found["staging_version"]) == ("staging", None, "2")


def test_while_a_model_is_in_staging_tonights_waits(staged: Callable) -> None:
    evidence = staged(SECOND, 40, 0, 0)
    night_with("PROMOTE", SECOND, staging=evidence)
    found = promote("small", "local", SECOND)
    assert (found["moved"], found["staging_version"], found["why"]) == ("none", "1", "another model is in staging")


def test_a_night_that_is_run_late_drops_no_model_that_a_later_night_staged(staged: Callable) -> None:
    evidence = staged(SECOND, 400, 160, 0)
    night_with("PROMOTE", LAST, staging=evidence)
    assert promote("small", "local", LAST)["staging_version"] == "2"
    night_with("PROMOTE", SECOND, staging=evidence)
    found = promote("small", "local", SECOND)
    assert (found["moved"], found["staging_version"]) == ("none", "2")
    assert found["why"] == f"a later night has brought a model to staging already: version 2, on {LAST}"


def test_nothing_is_confirmed_where_nothing_is_in_staging(house: House) -> None:
    house(staging={"max_nights": 7})
    assert confirm(open_night("small", "local", SECOND)) is None
