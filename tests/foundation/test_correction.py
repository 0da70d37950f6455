"""The correction of a judge's errors, by hand and by simulation."""

import math

import numpy as np
import pytest

from pipelines.foundation import statistics
from pipelines.foundation.correction import correct
from pipelines.foundation.proportions import Share, wilson, youden
from pipelines.foundation.statistics import Interval

MEASURED = Interval(0.06, 0.02, 0.10, 0.05, 200, 150)


def factor(value: float | None, low: float, high: float) -> dict:
    return {"value": value, "low": low, "high": high}


def test_a_judge_without_errors_changes_nothing() -> None:
    assert correct(MEASURED, factor(1.0, 1.0, 1.0)) == pytest.approx(MEASURED)


def test_a_known_factor_divides_all() -> None:
    found = correct(MEASURED, factor(0.5, 0.5, 0.5))
    assert found == pytest.approx((0.12, 0.04, 0.20, 0.10, 200, 150))


def test_an_uncertain_factor_widens_both_sides() -> None:
    known, unsure = correct(MEASURED, factor(0.5, 0.5, 0.5)), correct(MEASURED, factor(0.5, 0.3, 0.7))
    assert unsure.low < known.low
    assert unsure.high > known.high
    assert unsure.visible > known.visible
    assert unsure.difference == known.difference


@pytest.mark.parametrize(
    "interval", [(0.06, 0.02, 0.10), (0.06, -0.02, 0.14), (-0.06, -0.12, 0.02), (-0.06, -0.10, -0.02), (0.0, -0.1, 0.1)]
)
def test_the_bounds_solve_their_definition(interval: tuple[float, float, float]) -> None:
    """At the lower bound R the lower bound of numerator - R * denominator, squares added, is 0; at the upper its upper bound."""
    mean, low, high = interval
    value, least, most = 0.6, 0.45, 0.7
    found = correct(Interval(mean, low, high, 0.1, 9, 9), factor(value, least, most))
    for bound, edge, sign in ((found.low, low, 1), (found.high, high, -1)):
        towards = (most if bound > 0 else least) if sign == 1 else (least if bound > 0 else most)
        assert sign * (mean - bound * value) == pytest.approx(math.hypot(mean - edge, bound * (value - towards)), abs=1e-9)


def test_a_sign_that_was_shown_stays_shown_and_no_other_is_made() -> None:
    for low, high in ((0.02, 0.10), (-0.02, 0.14), (-0.10, -0.02), (0.0, 0.12)):
        found = correct(Interval((low + high) / 2, low, high, 0.1, 9, 9), factor(0.4, 0.01, 0.9))
        assert (np.sign(found.low), np.sign(found.high)) == (np.sign(low), np.sign(high))


@pytest.mark.parametrize("nothing", [factor(0.3, -0.1, 0.6), factor(0.3, 0.0, 0.6), factor(-0.2, -0.4, -0.1), factor(None, -1.0, 1.0)])
def test_a_factor_that_may_be_0_bounds_nothing(nothing: dict) -> None:
    found = correct(MEASURED, nothing)
    assert found[:4] == (0.06, -math.inf, math.inf, math.inf)


def test_a_smaller_alpha_stretches_the_factor_too() -> None:
    assert correct(MEASURED, factor(0.5, 0.2, 0.7), alpha=0.01).low < correct(MEASURED, factor(0.5, 0.2, 0.7)).low
    assert correct(MEASURED, factor(0.5, 0.2, 0.7), alpha=0.001).low == -math.inf


def test_bounds_that_say_nothing_stay_so() -> None:
    found = correct(Interval(math.nan, -math.inf, math.inf, math.inf, 0, 0), factor(0.8, 0.7, 0.9))
    assert found[1:4] == (-math.inf, math.inf, math.inf)
    assert correct(Interval(0.1, -math.inf, math.inf, math.inf, 5, 1), factor(0.8, 0.7, 0.9))[1:3] == (-math.inf, math.inf)


@pytest.mark.parametrize(("right", "labelled", "truth"), [(0.85, 100, 0.1), (0.75, 200, -0.15), (0.95, 60, 0.0)])
def test_pairwise_bounds_hold_the_truth_as_often_as_they_say(right: float, labelled: int, truth: float) -> None:
    """A judge that errs at random on 400 pairs, corrected by its own calibration; the uncorrected bounds miss the truth."""
    rng = np.random.default_rng(3)
    draws, n = 1000, 400

    def judged(size: int) -> np.ndarray:
        return np.where(rng.random((draws, size)) < right, 1.0, -1.0)

    wins = np.where(rng.random((draws, n)) < (1 + truth) / 2, 1.0, -1.0) * judged(n)
    tonight, calibrated = (_bounds(values) for values in (wins, judged(labelled)))
    found = correct(tonight, factor(calibrated.difference, calibrated.low, calibrated.high))
    noise = 3 * np.sqrt(0.05 * 0.95 / draws)
    assert np.mean(found.low > truth) <= 0.05 + noise
    assert np.mean(found.high < truth) <= 0.05 + noise
    assert 0.88 <= np.mean((found.low <= truth) & (truth <= found.high)) <= 0.95
    if truth:
        assert np.mean((tonight.low <= truth) & (truth <= tonight.high)) < 0.85


def _bounds(values: np.ndarray) -> Interval:
    draws, n = values.shape
    return statistics.bounds(statistics.summarise(values.ravel(), np.tile(np.arange(n), draws), np.repeat(np.arange(draws), n)), 0.05)


def test_pointwise_bounds_hold_the_truth_as_often_as_they_say() -> None:
    """Both models graded pass or fail with tpr .9 and tnr .8; 60 good and 40 bad labelled answers."""
    rng = np.random.default_rng(4)
    draws, n, tpr, tnr, good, better = 1000, 300, 0.9, 0.8, 0.7, 0.8

    def graded(share: float) -> np.ndarray:
        passes = rng.random((draws, n)) < share
        return np.where(passes, rng.random((draws, n)) < tpr, rng.random((draws, n)) > tnr).astype(float)

    said = [rng.binomial(size, rate, draws) / size for size, rate in ((60, tpr), (40, tnr))]
    rates = [Share(share, *wilson(share * size, size, 0.05)) for share, size in zip(said, (60, 40), strict=True)]
    found = correct(_bounds(graded(better) - graded(good)), youden(*rates)._asdict())
    covered = (found.low <= better - good) & (better - good <= found.high)
    assert 0.88 <= np.mean(covered) <= 0.94
