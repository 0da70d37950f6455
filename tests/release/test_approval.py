"""A promotion that needs a person: everything but a clear approval by somebody who may give it fails closed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.foundation import ledger
from pipelines.foundation.step import open_night
from pipelines.release import approval
from pipelines.release.approval import Answer
from pipelines.release.promote import promote
from tests.release.candidates import night_with

House = Callable[..., Path]
NIGHT = "2026-11-20"
ANN = Answer("Approve", "ann", "2026-11-21T08:00:00+00:00", "looks right", "")


def promoted(house: House, answer: Answer | None, four_eyes: bool = False, verdict: str = "PROMOTE") -> dict:
    house(approval="required", four_eyes=four_eyes)
    night_with(verdict, NIGHT)
    if answer is not None:
        approval.record("small", "local", NIGHT, answer)
    return promote("small", "local", NIGHT)


def test_an_approval_lets_the_promotion_through_and_is_pinned_in_it(house: House) -> None:
    found = promoted(house, ANN)
    assert (found["moved"], found["champion_version"]) == ("champion", "1")
    entry = ledger.entries(open_night("small", "local", NIGHT).lake)[-1]
    assert entry.kind == "promotion" and entry.body["approval"]["approver"] == "ann" and entry.body["approval"]["reason"] == "looks right"


@pytest.mark.parametrize(
    ("answer", "four_eyes", "why"),
    [
        (None, False, "nobody was asked yet"),
        (ANN._replace(chosen="Reject"), False, "rejected by ann"),
        (ANN._replace(chosen="Reject", approver=""), False, "nobody answered in time"),
        (ANN._replace(chosen="", approver=""), False, "nobody answered in time"),
        (ANN._replace(approver=""), False, "nobody answered in time"),
        (ANN._replace(triggered_by="ann"), True, "four_eyes: ann triggered the run and may not approve it"),
    ],
)
def test_anything_else_fails_closed(house: House, answer: Answer | None, four_eyes: bool, why: str) -> None:
    found = promoted(house, answer, four_eyes)
    assert (found["moved"], found["champion_version"], found["verdict"]) == ("none", None, "PROMOTE")
    assert why in found["why"]


def test_four_eyes_are_two_people(house: House) -> None:
    assert promoted(house, ANN._replace(triggered_by="bob"), four_eyes=True)["moved"] == "champion"


def test_a_late_approval_counts_when_the_step_runs_again(house: House) -> None:
    assert promoted(house, None)["moved"] == "none"
    approval.record("small", "local", NIGHT, ANN)
    assert promote("small", "local", NIGHT)["moved"] == "champion"


def test_an_approval_of_another_verdict_does_not_count(house: House) -> None:
    house(approval="required")
    night_with("PROMOTE", "2026-11-19")
    approval.record("small", "local", "2026-11-19", ANN)
    night_with("PROMOTE", NIGHT)
    assert promote("small", "local", NIGHT)["moved"] == "none"


def test_nobody_is_asked_about_a_verdict_that_moves_nothing(house: House) -> None:
    found = promoted(house, None, verdict="REJECT")
    assert found["why"] == "the verdict is REJECT"
    assert not approval.wanted("small", "local", NIGHT)
