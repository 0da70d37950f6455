"""Shares against scipy, against definitions, and against simulation."""

import numpy as np
import pytest
from scipy import stats

from pipelines.foundation import proportions
from pipelines.foundation.proportions import Share, clustered, mcnemar, wilson, youden


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (7, 10), (33, 40), (1, 500)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    low, high = stats.binomtest(successes, n).proportion_ci(0.90, method="wilson")
    assert wilson(successes, n, 0.05) == pytest.approx((low, high), abs=1e-9)


def test_nothing_observed_bounds_nothing() -> None:
    assert wilson(0, 0, 0.05) == (0, 1)
    assert clustered(np.array([]), np.array([], dtype=int), 0.05) == Share(None, 0, 1)


def test_wilson_takes_arrays() -> None:
    low, high = wilson(np.array([0, 3]), np.array([0, 10]), 0.05)
    assert (low[1], high[1]) == pytest.approx(wilson(3, 10, 0.05))
    assert (low[0], high[0]) == (0, 1)


@pytest.mark.parametrize("right", [0, 1, 20, 39, 40])
def test_one_item_a_group_is_wilsons_interval(right: int) -> None:
    values = np.repeat([1.0, 0.0], [right, 40 - right])
    found = clustered(values, np.arange(40), 0.05)
    assert found[1:] == pytest.approx(tuple(wilson(right, 40, 0.05)), abs=1e-9)
    assert found.value == right / 40


def test_answers_that_repeat_in_a_group_count_once() -> None:
    values = np.repeat([1.0, 0.0], [30, 10])
    once, thrice = clustered(values, np.arange(40), 0.05), clustered(values.repeat(3), np.arange(40).repeat(3), 0.05)
    assert thrice.low == pytest.approx(once.low, abs=0.01)
    assert thrice.high == pytest.approx(once.high, abs=0.01)
    assert thrice.low < wilson(90, 120, 0.05).low - 0.03


def test_all_right_is_not_certain_and_counts_groups() -> None:
    found = clustered(np.ones(80), np.arange(40).repeat(2), 0.05)
    assert (found.low, found.high) == pytest.approx(tuple(wilson(40, 40, 0.05)), abs=0.002)


def test_orders_that_cancel_do_not_make_a_bound_tighter_than_the_judgements() -> None:
    found = clustered(np.tile([1.0, 0.0], 40), np.arange(40).repeat(2), 0.05)
    assert found[1:] == pytest.approx(tuple(wilson(40, 80, 0.05)), abs=0.005)


def test_one_group_bounds_nothing() -> None:
    assert clustered(np.array([1.0, 0.0, 1.0, 1.0]), np.zeros(4, dtype=int), 0.05) == Share(0.75, 0, 1)


@pytest.mark.parametrize(("share", "size"), [(0.7, 2), (0.9, 2), (0.8, 5)])
def test_each_bound_of_a_clustered_share_misses_at_most_its_level(share: float, size: int) -> None:
    rng = np.random.default_rng(7)
    groups = np.arange(100 * size) // size
    shared, own = rng.random((400, 100)).repeat(size, axis=1) < share, rng.random((400, 100 * size)) < share
    nights = np.where(rng.random(own.shape) < 0.6, shared, own).astype(float)
    found = [clustered(values, groups, 0.05) for values in nights]
    for missed in (np.mean([part.low > share for part in found]), np.mean([part.high < share for part in found])):
        assert missed <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 400)


def test_youdens_bounds_hold_both_rates() -> None:
    one, two = Share(0.9, 0.8, 0.95), Share(0.8, 0.7, 0.9)
    found = youden(one, two)
    assert found == pytest.approx((0.7, 0.7 - np.hypot(0.1, 0.1), 0.7 + np.hypot(0.05, 0.1)))
    assert youden(one, two, correlation=1.0).low == pytest.approx(0.5)
    assert youden(one, Share(None, 0, 1)) == Share(None, -1, 1)


def test_mcnemar_is_the_binomial_test_with_a_vote_a_group() -> None:
    assert mcnemar([1.0] * 8 + [-1.0] + [0.0] * 30, range(39)) == pytest.approx(20 / 512)
    assert mcnemar([1.0] * 8 + [-1.0], ["a"] * 4 + ["b"] * 4 + ["c"]) == pytest.approx(1.0)  # two wins, one loss
    assert mcnemar([0.0, 0.0], ["a", "b"]) == 1.0


def test_codes_follow_first_appearance() -> None:
    assert proportions.codes(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]
