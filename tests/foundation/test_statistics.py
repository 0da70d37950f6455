"""The intervals against known answers and against simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from pipelines.foundation import macro_f1, statistics


def nights(rng: np.random.Generator, draws: int, n: int, shares: list[float], cluster: int) -> statistics.Sample:
    """`draws` nights of n pairs whose clusters of one size agree entirely; shares of losses and wins."""
    outcomes = rng.choice([-1.0, 1.0, 0.0], size=(draws, n // cluster), p=[*shares, 1 - sum(shares)]).repeat(cluster, axis=1)
    groups = np.tile(np.arange(n) // cluster, draws)
    return statistics.summarise(outcomes.ravel(), groups, np.repeat(np.arange(draws), n))


def test_graded_differences_one_a_group_give_the_paired_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.1, 80)
    found = statistics.compare(values, range(80), alpha=0.05)
    low, high = stats.t.interval(0.90, 79, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_equal_clusters_give_the_t_interval_of_their_means() -> None:
    values = np.random.default_rng(1).normal(0.01, 0.1, 200)
    found = statistics.compare(values, np.repeat(np.arange(50), 4), alpha=0.05)
    means = values.reshape(50, 4).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.90, 49, means.mean(), stats.sem(means)), abs=1e-12)


def test_the_variance_is_the_cluster_robust_one_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    values, groups = np.random.default_rng(2).normal(0, 0.1, 300), np.repeat(np.arange(60), 5)
    fitted = api.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    found = statistics.summarise(values, groups, np.zeros(300, dtype=int))
    assert found.variance[0] == pytest.approx(fitted.bse[0] ** 2 * 60 / 59)


@pytest.mark.parametrize(("losses", "wins"), [(12, 9), (1, 2), (9, 1), (3, 20), (40, 20)])
def test_right_or_wrong_gives_the_score_interval_by_its_definition(losses: int, wins: int) -> None:
    differences = [-1] * losses + [1] * wins + [0] * (100 - losses - wins)
    found = statistics.compare(differences, range(100), alpha=0.05)
    root = [score_bound(sign * (wins - losses) / 100, *((wins, losses) if sign == 1 else (losses, wins)), 100) for sign in (1, -1)]
    assert (found.low, found.high) == pytest.approx((root[0], -root[1]), abs=1e-6)


def score_bound(mean: float, wins: int, losses: int, n: int) -> float:
    """Tango's bound by its definition: likelihood maximised on a grid, the root found by scipy."""
    from scipy.optimize import brentq, minimize_scalar

    def excess(delta: float) -> float:
        def likelihood(lost: float) -> float:
            return -(losses * np.log(lost) + wins * np.log(lost + delta) + (n - wins - losses) * np.log(1 - 2 * lost - delta))

        edges = (max(0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12)
        lost = minimize_scalar(likelihood, bounds=edges, method="bounded", options={"xatol": 1e-13}).x
        return (
            mean - delta - 0.25 * min(1, 5 / min(wins, losses)) / n - stats.t.ppf(0.95, n - 1) * np.sqrt((2 * lost + delta - delta**2) / n)
        )

    return brentq(excess, -0.9, mean - 1e-9)


def test_no_differing_pair_is_no_certainty() -> None:
    few, many = (statistics.compare([0] * n, range(n), alpha=0.05) for n in (50, 1000))
    assert few.low < -(1 - 0.05 ** (1 / 50)) < 0  # below the exact binomial bound
    assert -0.004 < many.low < -(1 - 0.05 ** (1 / 1000))


def test_a_group_of_equal_pairs_counts_as_one() -> None:
    alone, grouped = statistics.compare([0] * 50, range(50), 0.05), statistics.compare([0] * 1000, np.repeat(np.arange(50), 20), 0.05)
    assert grouped.low == pytest.approx(alone.low, abs=2e-3)


def test_one_cluster_says_nothing() -> None:
    found = statistics.compare([0, 1, 1] * 20, ["one"] * 60, alpha=0.05)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert statistics.verdict(found, 0.03, 30) == "INSUFFICIENT_DATA"


@pytest.mark.parametrize("n", [60, 200, 1000])
@pytest.mark.parametrize("cluster", [1, 4])
@pytest.mark.parametrize("wins", [0.0, 0.01, 0.08])
def test_a_candidate_at_the_margin_passes_in_at_most_alpha_of_nights(n: int, cluster: int, wins: float) -> None:
    found = statistics.bounds(nights(np.random.default_rng(3), 2000, n, [wins + 0.03, wins], cluster), alpha=0.05)
    assert np.mean(found.low > -0.03) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize(("n", "margin"), [(60, 0.03), (118, 0.01), (270, 0.01), (671, 0.05), (1000, 0.03), (1122, 0.04)])
@pytest.mark.parametrize("wins", [0.0, 0.001, 0.01, 0.06, 0.10])
def test_over_all_outcomes_at_most_alpha_pass_at_the_margin(n: int, margin: float, wins: float) -> None:
    assert passing(n, wins, wins + margin, margin, 0.05) <= 0.0502
    assert passing(n, wins, wins + margin, margin, 0.025) <= 0.0252


def test_an_equal_candidate_passes_in_four_of_five_nights_of_a_thousand_items() -> None:
    assert passing(1000, 0.072, 0.072, 0.03, 0.05) == pytest.approx(0.7992, abs=1e-4)


def passing(n: int, wins: float, losses: float, margin: float, alpha: float) -> float:
    """The exact share of nights of n single items whose bound is above -margin: the sum over all outcomes worth counting."""
    won, lost = (part.ravel() for part in np.meshgrid(likely(n, wins), likely(n, losses)))
    chance = stats.multinomial.pmf(np.stack([won, lost, n - won - lost], axis=1), n, [wins, losses, 1 - wins - losses])
    size, one = np.full(len(won), float(n)), np.ones(len(won))
    mean = (won - lost) / n
    variance = ((won + lost) / n - mean**2) / (n - 1)
    sample = statistics.Sample(size, size.astype(int), mean, won, lost, one, variance, effect=one, df=size - 1, score=one > 0)
    return float(chance[statistics.bounds(sample, alpha).low > -margin].sum())


def likely(n: int, share: float) -> np.ndarray:
    """Counts within six standard deviations."""
    width = 6 * np.sqrt(n * share * (1 - share)) + 6 * (share > 0)
    return np.arange(max(0, int(n * share - width)), int(n * share + width) + 1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    found = statistics.bounds(nights(np.random.default_rng(4), 2000, 400, [0.12, 0.07], 2), alpha=0.025)
    assert 0.93 <= np.mean((found.low <= -0.05) & (found.high >= -0.05)) <= 0.97


def test_a_drop_of_the_visible_size_is_seen_in_four_nights_of_five() -> None:
    drop = float(np.median(statistics.bounds(nights(np.random.default_rng(5), 200, 1000, [0.08, 0.08], 1), 0.05).visible))
    found = statistics.bounds(nights(np.random.default_rng(6), 2000, 1000, [0.08 + drop / 2, 0.08 - drop / 2], 1), alpha=0.05)
    assert 0.76 <= np.mean(found.high < 0) <= 0.84


def test_scores_beyond_one_scale_the_interval() -> None:
    small = statistics.compare([0.25, -0.5, 1.0] + [0] * 97, range(100), 0.05)
    large = statistics.compare([2.5, -5.0, 10.0] + [0] * 97, range(100), 0.05)
    assert (large.low, large.high) == pytest.approx((10 * small.low, 10 * small.high))


def answers(n: int, labels: int, right: float, seed: int) -> tuple[list[str], list[str | None]]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, labels, n)
    told = np.where(rng.random(n) < right, gold, rng.integers(0, labels + 1, n))
    return [f"l{label}" for label in gold], [None if label == labels else f"l{label}" for label in told]


def test_macro_f1_is_that_of_scikit_learn() -> None:
    gold, told = answers(500, 20, 0.7, 0)
    expected = f1_score(gold, [label or "none" for label in told], average="macro", labels=sorted(set(gold)), zero_division=0)
    assert macro_f1.macro_f1(gold, told) == pytest.approx(expected, abs=1e-12)


def test_macro_f1_of_the_same_answers_is_no_certainty() -> None:
    gold, told = answers(60, 5, 0.8, 1)
    found = macro_f1.compare(gold, told, told, range(60), alpha=0.05)
    assert found.difference == 0
    assert found.low < -0.04


def test_macro_f1_sees_a_worse_candidate_and_repeats_itself() -> None:
    gold, old = answers(800, 10, 0.9, 2)
    new = ["l0" if place % 4 == 0 else label for place, label in enumerate(old)]
    first, again = (macro_f1.compare(gold, old, new, [place // 2 for place in range(800)], 0.05) for _ in range(2))
    assert first == again
    assert first.high < -0.1
    assert first.clusters == 400
