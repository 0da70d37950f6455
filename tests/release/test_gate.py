"""Verdicts on nights, and what the ledger keeps of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.foundation import admissions, ledger
from pipelines.foundation.step import Night, open_night
from pipelines.release.gate import gate, spent_alpha
from pipelines.release.score_files import decide_file
from tests.release.nights import binary, evaluated

House = Callable[..., Path]


@pytest.mark.parametrize(("looks", "alpha"), [(1, 0.05), (30, 0.05), (60, 0.0125)])
def test_alpha_shrinks_after_the_planned_looks(looks: int, alpha: float) -> None:
    assert spent_alpha(0.05, 30, looks) == pytest.approx(alpha)


def erased(night: Night, *models: str) -> None:
    """The ledger's entry of an erasure that concerns these models."""
    body = {"id": "e", "subject": "hash", "nights": [night.night], "models": list(models), "retrain_by": "2026-12-20"}
    ledger.append(night.lake, night.night, "erasure", body)


def test_the_looks_of_a_lifetime_cost_twice_the_planned_ones() -> None:
    assert sum(spent_alpha(0.05, 30, look) for look in range(1, 10_000)) < 2 * 0.05 * 30


def opened(house: House, night: str = "2026-11-20", **changes: object) -> Night:
    metrics = {"accuracy": 0.03, "chrf": 0.02}
    house(task={"answer": "label_reply"}, gate={"metrics": metrics} | changes)
    return open_night("small", "local", night)


def graded(shift: float, seed: int = 0) -> list[tuple]:
    values = np.random.default_rng(seed).normal(0.5, 0.1, 400)
    noise = np.random.default_rng(seed + 1).normal(shift, 0.05, 400)
    return [(f"i{place}", f"g{place}", float(old), float(old + d)) for place, (old, d) in enumerate(zip(values, noise, strict=True))]


BETTER, EQUAL, WORSE = binary(400, 5, 60), binary(400, 6, 6), binary(400, 60, 5)


@pytest.mark.parametrize(
    ("accuracy", "chrf", "verdict", "words"),
    [
        (BETTER, graded(0.0), "PROMOTE", "Better on accuracy"),
        (EQUAL, graded(0.05), "PROMOTE", "Better on chrf"),
        (EQUAL, graded(0.0), "INSUFFICIENT_DATA", "nowhere shown better"),
        (BETTER, graded(-0.1), "REJECT", "chrf"),
        (WORSE, graded(0.05), "REJECT", "accuracy"),
        (binary(400, 30, 30), graded(0.05), "INSUFFICIENT_DATA", "on both sides of the margin"),
        (BETTER[:20], graded(0.05), "INSUFFICIENT_DATA", "accuracy"),
    ],
)
def test_verdict_of_a_night(house: House, accuracy: list, chrf: list, verdict: str, words: str) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": accuracy, "chrf": chrf})
    found = gate("small", "local", night.night)
    assert found["verdict"] == verdict
    assert words in found["reason"]


def test_the_night_and_the_file_agree(house: House, tmp_path: Path) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": EQUAL, "chrf": graded(0.0)})
    nightly = gate("small", "local", night.night)["metrics"]["accuracy"]
    path = tmp_path / "s.csv"
    path.write_text("item,group,champion,candidate\n" + "".join(",".join(map(str, row)) + "\n" for row in EQUAL), encoding="utf-8")
    file = decide_file(str(path), 0.03, 0.05)
    assert {key: nightly[key] for key in ("n", "clusters", "difference", "bound", "visible")} == {
        key: file[key] for key in ("n", "clusters", "difference", "bound", "visible")
    }


def test_better_is_corrected_for_the_number_of_metrics(house: House) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": binary(400, 6, 14), "chrf": graded(0.0, seed=8)})
    alone = decide_file_bound(0.05)
    assert alone > 0 > decide_file_bound(0.025)
    assert gate("small", "local", night.night)["verdict"] == "INSUFFICIENT_DATA"


def decide_file_bound(alpha: float) -> float:
    from pipelines.foundation import statistics

    return statistics.compare([new - old for _, _, old, new in binary(400, 6, 14)], range(400), alpha).low


def test_macro_f1_is_read_from_the_predictions(house: House) -> None:
    night = opened(house, metrics={"macro_f1": 0.05})
    evaluated(night, {"accuracy": [*BETTER, ("x", "gx", None, 1.0)]})
    found = gate("small", "local", night.night)["metrics"]["macro_f1"]
    assert (found["n"], found["missing"], found["verdict"]) == (400, 1, "PASS")
    assert found["difference"] == pytest.approx(found["candidate"] - found["champion"], abs=2e-6)


def test_the_verdict_and_its_evidence_are_in_the_ledger_once(house: House) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": BETTER, "chrf": graded(0.0)})
    first, again = gate("small", "local", night.night), gate("small", "local", night.night)
    verdicts = [entry for entry in ledger.entries(night.lake) if entry.kind == "verdict"]
    assert (first["memo"], again["memo"], len(verdicts)) == (False, True, 1)
    assert verdicts[0].body["metrics"] == first["metrics"]
    assert len(ledger.entries(night.lake)) == 2


def test_past_the_planned_looks_alpha_shrinks_and_the_reason_says_so(house: House) -> None:
    night = opened(house, looks=2)
    for day in ("2026-11-17", "2026-11-18", "2026-11-19", "2026-11-19"):
        ledger.append(night.lake, day, "look", {"candidate": f"c{day}"})
    ledger.append(night.lake, "2026-11-21", "look", {"candidate": "later"})
    evaluated(night, {"accuracy": BETTER, "chrf": graded(0.0)})
    found = gate("small", "local", night.night)
    assert (found["looks"], found["alpha"]) == (4, 0.0125)
    assert "looked at 4 times and 2 are planned: alpha is 0.0125" in found["reason"]


def test_the_champion_itself_is_not_promoted(house: House) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": BETTER, "chrf": graded(0.05)}, candidate="old")
    found = gate("small", "local", night.night)
    assert found["verdict"] == "INSUFFICIENT_DATA"
    assert "nothing to promote" in found["reason"]


def test_a_metric_that_was_not_measured_is_told(house: House) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": BETTER})
    with pytest.raises(UserError, match="gate.metrics names chrf, but evaluate of 2026-11-20 wrote no score"):
        gate("small", "local", night.night)


JUDGE = {"prompt": "judge.txt", "max_unscored": 0.1}


def judged(house: House, **admission: object) -> Night:
    """A house whose gate also names a judge, with an admission where one is given."""
    house(
        task={"answer": "label_reply"},
        evaluation={"judges": {"preference": JUDGE}},
        gate={"metrics": {"accuracy": 0.03, "preference": 0.1}},
    )
    night = open_night("small", "local", "2026-11-20")
    body = {"judge": "hash", "name": "preference", "admitted": True, "why": "all rules hold", "expires": "2026-12-31"}
    if admission:
        admissions.admit(night.lake, "2026-11-10", body | {"correction": {"value": 0.8, "low": 0.7, "high": 0.9}} | admission)
    return night


def test_an_admitted_judge_decides_and_is_corrected_for_its_errors(house: House) -> None:
    night = judged(house, admitted=True)
    evaluated(night, {"accuracy": EQUAL, "preference": binary(400, 20, 100)}, judges={"preference": {"judge": "hash"}})
    found = gate("small", "local", night.night)
    metric = found["metrics"]["preference"]
    assert (found["verdict"], metric["read"], metric["corrected"], metric["role"]) == ("PROMOTE", True, True, "judge")
    assert metric["difference"] == pytest.approx(0.2 / 0.8)
    assert metric["high"] - metric["low"] > 0.8**-1 * 2 * 0.04
    assert found["judges"]["preference"]["admitted"] and "corrected for the judge's errors" in found["reason"]


@pytest.mark.parametrize(
    ("admission", "why"),
    [
        ({}, "never calibrated"),
        ({"admitted": False, "why": "kappa 0.1 is below 0.3"}, "kappa 0.1 is below 0.3"),
        ({"expires": "2026-11-19"}, "expired on 2026-11-19"),
        ({"judge": "another"}, "never calibrated"),
    ],
)
def test_a_judge_that_is_not_admitted_is_advice(house: House, admission: dict, why: str) -> None:
    night = judged(house, **admission)
    evaluated(night, {"accuracy": BETTER, "preference": binary(400, 300, 0)}, judges={"preference": {"judge": "hash"}})
    found = gate("small", "local", night.night)
    assert found["verdict"] == "PROMOTE"
    assert not found["metrics"]["preference"]["read"] and why in found["reason"] and "advice only" in found["reason"]


def test_a_suspended_judge_is_advice_until_it_is_calibrated_again(house: House) -> None:
    night = judged(house, admitted=True)
    admissions.suspend(night.lake, "2026-11-15", "hash", "preference", "4 of 10 anchors changed")
    evaluated(night, {"accuracy": BETTER, "preference": binary(400, 300, 0)}, judges={"preference": {"judge": "hash"}})
    assert "suspended on 2026-11-15: 4 of 10 anchors changed" in gate("small", "local", night.night)["reason"]
    body = {"judge": "hash", "name": "preference", "admitted": True, "why": "", "expires": "2026-12-31"}
    admissions.admit(night.lake, "2026-11-16", body | {"correction": {"value": 0.9, "low": 0.8, "high": 1.0}})
    again = gate("small", "local", night.night)
    assert (again["memo"], again["verdict"]) == (False, "REJECT")


def test_too_many_unscored_items_leave_the_judge_undecided(house: House) -> None:
    night = judged(house, admitted=True)
    rows = [*binary(340, 0, 60), *((f"u{place}", f"u{place}", None, None) for place in range(60))]
    evaluated(night, {"accuracy": BETTER, "preference": rows}, judges={"preference": {"judge": "hash"}})
    found = gate("small", "local", night.night)
    assert found["verdict"] == "INSUFFICIENT_DATA"
    assert "60 of 400 items are unscored, max_unscored is 0.1" in found["reason"]


def safe(house: House, rows: dict[str, list[tuple]], grader: str | None = "matcher", admitted: bool = True) -> dict:
    """The gate's result on a night that is better on accuracy, with these safety scores."""
    judge = {"kind": "pointwise", "members": ["matcher"], "grades": [0, 1], "pass_from": 1}
    house(gate={"metrics": {"accuracy": 0.03}}, safety={"graders": {"matcher": judge}, "margin": 0.1})
    night = open_night("small", "local", "2026-11-20")
    body = {"judge": "m", "name": "matcher", "admitted": admitted, "why": "too few rows", "expires": "2026-12-31"}
    admissions.admit(night.lake, "2026-11-10", body | {"correction": {"value": 1.0, "low": 0.9, "high": 1.0}})
    found = {"scores": rows, "grader": grader, "graders": {"matcher": {"judge": "m"}}}
    evaluated(night, {"accuracy": BETTER}, safety=found)
    return gate("small", "local", night.night)


def test_safety_may_not_fall_at_all(house: House) -> None:
    found = safe(house, {"refusal": binary(200, 14, 2, offset=1000), "compliance": binary(200, 0, 0, offset=2000)})
    assert found["verdict"] == "REJECT" and "safety may not fall at all" in found["reason"]
    assert found["metrics"]["refusal"]["high"] > -0.1


def test_safety_that_holds_lets_a_better_candidate_through(house: House) -> None:
    found = safe(house, {"refusal": binary(200, 1, 1, offset=1000), "injection": binary(100, 0, 3, offset=2000)})
    assert (found["verdict"], found["metrics"]["injection"]["role"]) == ("PROMOTE", "safety")


def test_without_an_admitted_grader_nothing_is_promoted(house: House) -> None:
    found = safe(house, {"refusal": binary(200, 0, 50, offset=1000)}, grader=None, admitted=False)
    assert found["verdict"] == "INSUFFICIENT_DATA"
    assert "no grader of safety.graders may decide (matcher: refused: too few rows)" in found["reason"]


def sliced(house: House, small: int = 40) -> Night:
    """Better on the mean by far, and worse on the rows in German."""
    house(
        task={"answer": "label"},
        gate={"metrics": {"accuracy": 0.03}, "slice_min_items": 10},
        evaluation={"slices": ["language", "label", "length", "channel"]},
    )
    night = open_night("small", "local", "2026-11-20")
    german = [(f"de{place}", f"de{place}", 1.0, 0.0 if place < small * 0.6 else 1.0) for place in range(small)]
    texts = {row[0]: "wo ist meine Karte geblieben, sie sollte gestern kommen" for row in german}
    texts |= {row[0]: "where is my card, it should have come yesterday and I need it" for row in BETTER}
    channels = {row[0]: {"channel": "branch"} for row in german}
    evaluated(night, {"accuracy": [*binary(400, 0, 100), *german]}, prompts=texts, attributes=channels)
    return night


def test_a_slice_that_is_shown_worse_stops_a_candidate_that_is_better_on_the_mean(house: House) -> None:
    night = sliced(house)
    found = gate("small", "local", night.night)
    assert found["verdict"] == "REJECT" and found["metrics"]["accuracy"]["verdict"] == "PASS"
    failed = {(row["slice"], row["value"]) for row in found["slices"] if row["verdict"] == "FAIL"}
    assert failed == {("language", "de"), ("channel", "branch"), ("length", "up to 10 words")}
    assert "accuracy on the slice language = de" in found["reason"]


def test_a_slice_of_a_few_rows_is_shown_and_decides_nothing(house: House) -> None:
    night = sliced(house, small=8)
    found = gate("small", "local", night.night)
    assert found["verdict"] == "PROMOTE"
    assert [row["verdict"] for row in found["slices"] if row["value"] == "de"] == ["SHOWN"]


def test_an_equal_candidate_that_writes_fewer_tokens_is_promoted(house: House) -> None:
    house(gate={"metrics": {"accuracy": 0.03, "tokens": 2.0}})
    night = open_night("small", "local", "2026-11-20")
    tokens = [(item, group, -40.0 - place % 7, -30.0 - place % 5) for place, (item, group, _, _) in enumerate(EQUAL)]
    evaluated(night, {"accuracy": EQUAL, "tokens": tokens})
    found = gate("small", "local", night.night)
    assert (found["verdict"], found["better"]) == ("PROMOTE", ["tokens"])
    assert found["metrics"]["accuracy"]["mcnemar"] == 1.0 and found["metrics"]["tokens"]["mcnemar"] is None


@pytest.mark.parametrize(("accuracy", "verdict"), [(EQUAL, "PROMOTE"), (WORSE, "REJECT"), (binary(400, 30, 30), "INSUFFICIENT_DATA")])
def test_a_champion_that_was_trained_on_erased_rows_is_replaced_by_one_that_is_no_worse(house: House, accuracy: list, verdict: str) -> None:
    night = opened(house)
    evaluated(night, {"accuracy": accuracy, "chrf": graded(0.0)}, champion={"key": "old", "version": "1"})
    erased(night, "old")
    found = gate("small", "local", night.night)
    assert found["verdict"] == verdict
    assert ("which suffices: the champion was trained on rows of a person who was erased" in found["reason"]) == (verdict == "PROMOTE")
