"""Confidence sequences against their definition and against looking as often as one likes."""

import math

import numpy as np
import pytest

from pipelines.foundation import sequences, statistics


def pairs(streams: int, n: int, won: float, lost: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([1.0, -1.0, 0.0], size=(streams, n), p=[won, lost, 1 - won - lost])


def holds(observations: list[float], mean: float) -> float:
    """The capital at its highest, by the definition."""
    capital = dict.fromkeys(sequences.FRACTIONS, 1.0)
    highest = 1.0
    for seen in observations:
        capital = {f: held * (1 - f + f * (seen + 1) / (mean + 1)) for f, held in capital.items()}
        highest = max(highest, sum(capital.values()) / len(capital))
    return highest


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_where_the_capital_reached_one_over_alpha(seed: int) -> None:
    observations = list(np.random.default_rng(seed).uniform(-0.8, 1, 60))
    found = sequences.bounds(observations, 0.05)
    assert holds(observations, found.low) == pytest.approx(20, rel=1e-6)
    assert holds([-seen for seen in observations], -found.high) == pytest.approx(20, rel=1e-6)


@pytest.mark.parametrize(("won", "lost"), [(0.057, 0.087), (0.0, 0.03), (0.3, 0.33), (0.0, 0.1)])
def test_looked_at_after_every_pair_the_truth_is_passed_in_at_most_alpha_of_streams(won: float, lost: float) -> None:
    passed = sequences.exceeds(pairs(1000, 400, won, lost, seed=1), won - lost, alpha=0.05)
    assert passed.any(axis=1).mean() <= 0.05


def test_a_bound_for_one_look_does_not_bear_many() -> None:
    streams = pairs(300, 300, 0.057, 0.087, seed=2)
    passed = np.zeros(300, dtype=bool)
    for n in range(30, 301, 30):
        sample = statistics.summarise(streams[:, :n].ravel(), np.tile(np.arange(n), 300), np.repeat(np.arange(300), n))
        passed |= statistics.bounds(sample, 0.05).low > -0.03
    assert passed.mean() > 0.10


def test_both_sides_hold_at_once_at_twice_alpha() -> None:
    streams = pairs(1000, 300, 0.10, 0.05, seed=3)
    below, above = sequences.exceeds(streams, 0.05, 0.05), sequences.exceeds(-streams, -0.05, 0.05)
    assert (below | above).any(axis=1).mean() <= 0.10


def test_more_observations_only_narrow() -> None:
    stream = pairs(1, 200, 0.2, 0.1, seed=4)[0]
    found = [sequences.bounds(stream[:n], 0.05) for n in range(0, 201, 3)]
    for before, after in zip(found, found[1:], strict=False):
        assert before.low <= after.low < after.high <= before.high


def test_many_streams_say_what_each_says_alone_and_what_each_look_says() -> None:
    streams = pairs(20, 120, 0.3, 0.1, seed=5)
    lows = sequences.lower_bounds(streams, 0.05)
    assert list(lows) == [sequences.bounds(stream, 0.05).low for stream in streams]
    assert list(sequences.exceeds(streams, 0.0, 0.05)[:, -1]) == list(lows > 0)


@pytest.mark.parametrize("n", [30, 100, 1000])
def test_a_stream_of_ties_shows_little_more_than_a_few_over_n(n: int) -> None:
    found = sequences.bounds([0.0] * n, 0.05)
    assert found.high == pytest.approx(-found.low)
    assert 1 - 0.05 ** (1 / n) < -found.low < 8 / n  # no closer than the exact bound of one look


def test_long_streams_find_their_mean() -> None:
    found = sequences.bounds(pairs(1, 20_000, 0.10, 0.07, seed=6)[0], 0.05)
    assert 0 < found.low < 0.03 < found.high < 0.06
    assert found.low < found.mean < found.high


def test_nothing_seen_is_the_whole_range() -> None:
    assert sequences.bounds([], 0.05) == (0, None, -1.0, 1.0)
    assert sequences.bounds([], 0.05, low=0, high=5) == (0, None, 0.0, 5.0)


def test_the_range_is_only_a_scale() -> None:
    stream = pairs(1, 80, 0.3, 0.1, seed=7)[0]
    small, large = sequences.bounds(stream, 0.05), sequences.bounds(10 + 3 * stream, 0.05, low=7, high=13)
    assert (large.low, large.high) == pytest.approx((10 + 3 * small.low, 10 + 3 * small.high))


def test_the_ends_of_the_range_are_no_certainty() -> None:
    for end in (-1.0, 1.0):
        found = sequences.bounds([end] * 50, 0.05)
        assert -1 <= found.low < found.high <= 1
        assert min(abs(found.low - end), abs(found.high - end)) == pytest.approx(0, abs=1e-9)


def test_rounding_at_the_ends_is_forgiven() -> None:
    assert sequences.bounds([1 + 1e-12, 0.0], 0.05).n == 2


@pytest.mark.parametrize(("value", "told"), [(math.nan, "is nan"), (math.inf, "is inf"), (1.5, r"is 1\.5"), (-1.01, r"is -1\.01")])
def test_a_bad_observation_is_named_with_its_place(value: float, told: str) -> None:
    with pytest.raises(ValueError, match=rf"observation 2 of stream 0.* {told}: not in \[-1.0, 1.0\]"):
        sequences.bounds([0.0, 1.0, value, math.nan], 0.05)


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.0, -1, 1), (1.0, -1, 1), (math.nan, -1, 1), (0.05, 1, -1), (0.05, -math.inf, 1)])
def test_a_bad_level_or_range_is_told(alpha: float, low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 1, and low"):
        sequences.bounds([], alpha, low, high)


def test_a_mean_at_the_lowest_value_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="must be above the lowest value"):
        sequences.exceeds(np.zeros((1, 3)), -1.0, 0.05)
