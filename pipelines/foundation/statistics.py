"""Paired differences (candidate minus champion) clustered by group: bounds that hold their level, for one night or many at once.

Two intervals, chosen by the data and not by a flag:

- Right or wrong (differences of -1, 0, 1), and a graded metric of which fewer than SPARSE clusters differ: Tango's
  score interval (Statistics in Medicine 17, 1998), whose variance is that of the hypothesis under test. It stays honest
  where few pairs differ: with no differing pair at all the bound is a little below -t^2 / (n + t^2), not 0, where a Wald
  or t bound would be certain of what it has not seen. A continuity correction of a quarter of a pair keeps its level
  where wins or losses are few, and the difference moves in whole steps; beyond FADE of both it shrinks as FADE over the
  fewer, for the steps are then finer. Both numbers come from exact enumeration of all outcomes of single items (n = 50
  to 2,000, margins 0 to .05, win rates 0 to 10 %): at most 5.01 % of nights at the margin pass at alpha 5 %, 2.50 % at
  2.5 % (6.63 % and 2.67 % without a correction; 5.2 % where it shrinks as 10 over wins plus losses). An equal candidate (p =
  .80, correlation .55, n = 1,000, margin .03) passes in 79.92 % of nights, as many as without a correction; no test that
  keeps 5 % passes it in more than 80.06 % (Neyman and Pearson).
  Clusters enter as an effective sample size, n over the design effect (Kish 1965; for proportions Korn and Graubard
  1998). Graded differences count as wins and losses of one size, the one that keeps their second moment; where few were
  seen that size is drawn to the largest possible.
- Otherwise: the mean with the CR2 variance and Satterthwaite's degrees of freedom (Bell and McCaffrey 2002). With
  one item a cluster this is the paired t interval.

Weak spot, measured: a graded metric whose losses are rare and large, in 10 to 20 clusters of very unlike size, passes at
the margin in up to 12 % of nights. Right-or-wrong metrics keep to 5 % there.
`python -m bench.gate` measures level, coverage and power of both.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

CONTINUITY = 0.25  # of a pair
FADE = 5  # wins and losses, whichever are fewer, from which the continuity correction shrinks
SPARSE = 40  # clusters with a difference, below which the t interval of a graded metric is not trusted
POWER = 0.80  # of the smallest visible difference
Verdict = Literal["PASS", "FAIL", "INSUFFICIENT_DATA"]


class Sample(NamedTuple):
    """What the intervals need of each draw; arrays of shape [draws]."""

    n: "np.ndarray"  # pairs
    clusters: "np.ndarray"
    mean: "np.ndarray"  # of candidate minus champion
    wins: "np.ndarray"  # sum of the positive differences, in units of `scale`
    losses: "np.ndarray"  # sum of the negative differences, in units of `scale`, as a positive number
    scale: "np.ndarray"  # size of a win or a loss: 1 for right or wrong
    variance: "np.ndarray"  # CR2, of the mean
    effect: "np.ndarray"  # design effect: variance over that of n independent pairs
    df: "np.ndarray"
    score: "np.ndarray"  # True: Tango's interval


class Interval(NamedTuple):
    """Bounds of the mean difference; floats, or arrays of shape [draws]."""

    difference: "float | np.ndarray"
    low: "float | np.ndarray"  # one-sided 1 - alpha: (low, high) is the two-sided 1 - 2 alpha interval
    high: "float | np.ndarray"
    visible: "float | np.ndarray"  # smallest visible drop, see `visible`
    n: "int | np.ndarray"
    clusters: "int | np.ndarray"


def compare(differences: Sequence[float], groups: Sequence[object], alpha: float) -> Interval:
    """The interval of one night: differences of pairs (candidate minus champion) and the group of each; raises ValueError on no pair."""
    import numpy as np

    codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    found = bounds(summarise(np.asarray(differences, dtype=float), codes, np.zeros(len(codes), dtype=int)), alpha)
    return Interval(*(float(part[0]) for part in found[:4]), int(found.n[0]), int(found.clusters[0]))


def summarise(differences: "np.ndarray", groups: "np.ndarray", draws: "np.ndarray") -> Sample:
    """Sums by draw; three arrays of shape [pairs]: differences, and codes from 0 of the group and the draw."""
    import numpy as np

    if not len(differences):
        raise ValueError("no pair to compare")
    keys, cluster = np.unique(draws * (groups.max() + 1) + groups, return_inverse=True)
    size = np.bincount(cluster).astype(float)
    owner = keys // (groups.max() + 1)  # the draw of each cluster

    def total(values: np.ndarray, of: np.ndarray = draws) -> np.ndarray:
        return np.bincount(of, weights=values)

    n, clusters = total(np.ones(len(draws))), np.bincount(owner)
    mean = total(differences) / n
    residual = np.bincount(cluster, weights=differences - mean[draws])
    share = size / n[owner]
    inflation = 1 / np.where(share < 1, 1 - share, 1)
    variance = total(residual**2 * inflation, owner) / n**2
    changed = total(np.bincount(cluster, weights=differences != 0) > 0, owner)
    whole = total(~np.isin(differences, (-1, 0, 1))) == 0
    largest = np.ones(len(n))
    np.maximum.at(largest, draws, np.abs(differences))
    unseen = largest / (1 + changed)
    scale = (total(differences**2) + unseen * largest) / (total(np.abs(differences)) + unseen)
    return Sample(
        n=n,
        clusters=clusters,
        mean=mean,
        wins=total(np.maximum(differences, 0)) / scale,
        losses=total(np.maximum(-differences, 0)) / scale,
        scale=scale,
        variance=variance,
        effect=_design_effect(variance, n, total((differences - mean[draws]) ** 2), total(size**2, owner) / n, changed),
        df=_degrees_of_freedom(share, inflation * share**2, owner),
        score=whole | (changed < SPARSE),
    )


def bounds(sample: Sample, alpha: float) -> Interval:
    """One-sided 1 - alpha bounds on either side, by draw. A draw of one cluster has bounds that say nothing (infinite)."""
    import numpy as np
    from scipy.special import stdtrit

    t = stdtrit(sample.df, 1 - alpha)
    width = t * np.sqrt(sample.variance)
    size, mean = sample.n / sample.effect, sample.mean / sample.scale
    wins, losses = sample.wins / sample.effect, sample.losses / sample.effect
    low = np.where(sample.score, sample.scale * _score_bound(mean, wins, losses, size, t), sample.mean - width)
    high = np.where(sample.score, -sample.scale * _score_bound(-mean, losses, wins, size, t), sample.mean + width)
    single = sample.clusters < 2
    low, high = np.where(single, -np.inf, low), np.where(single, np.inf, high)
    return Interval(sample.mean, low, high, visible(sample.mean - low, sample.df, alpha), sample.n.astype(int), sample.clusters)


def visible(width: "float | np.ndarray", df: "float | np.ndarray", alpha: float) -> "float | np.ndarray":
    """The smallest true drop that so many pairs and clusters flag as a drop with 80 % power, in the metric's units.

    Bloom's minimum detectable effect (Evaluation Review 19, 1995): (t[1 - alpha] + t[0.80]) times the standard error,
    which is `width` (the distance from the mean to its lower bound) over t[1 - alpha]. A drop is *rejected* with this
    power when it exceeds margin + visible.
    """
    from scipy.special import stdtrit

    return width * (1 + stdtrit(df, POWER) / stdtrit(df, 1 - alpha))


def quantile(df: float, probability: float) -> float:
    """Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def verdict(interval: Interval, margin: float, min_items: int) -> Verdict:
    """PASS: the lower bound is above -margin; FAIL: the upper bound is below it; else, or on too few pairs, INSUFFICIENT_DATA."""
    if interval.n < min_items or interval.clusters < 2:
        return "INSUFFICIENT_DATA"
    if interval.low > -margin:
        return "PASS"
    return "FAIL" if interval.high < -margin else "INSUFFICIENT_DATA"


def _degrees_of_freedom(share: "np.ndarray", weight: "np.ndarray", owner: "np.ndarray") -> "np.ndarray":
    """Satterthwaite's, of the CR2 variance: (tr B)^2 / tr(B^2), B the covariance of the weighted residual sums.

    Under items that are alike within a cluster: unequal clusters then count for fewest. Equal ones give clusters - 1.
    """
    import numpy as np

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, weights=values)

    squares = total(share**2)
    spread = squares[owner] - 2 * share
    w0, w1, w2 = (total(weight * share**power) for power in range(3))
    trace = total(weight * (1 + spread))
    square = total(weight**2 * (1 + 2 * spread)) + squares**2 * w0**2 + 2 * w0 * w2 - 4 * squares * w0 * w1 + 2 * w1**2
    return np.maximum(trace**2 / np.where(square > 0, square, 1), 1)


def _design_effect(
    variance: "np.ndarray", n: "np.ndarray", squares: "np.ndarray", kish: "np.ndarray", changed: "np.ndarray"
) -> "np.ndarray":
    """The measured design effect, drawn to its largest value (mean cluster size, size-weighted) where few clusters tell it.

    With no differing pair nothing was measured, and a cluster counts as one pair. The weight 1 / (1 + changed)^2 is
    ours, chosen by simulation: it is gone (under 1 %) by ten clusters.
    """
    import numpy as np

    plain = squares / np.maximum(n - 1, 1) / n
    measured = np.where(plain > 0, variance / np.where(plain > 0, plain, 1), kish)
    weight = 1 / (1 + changed) ** 2
    return np.maximum((1 - weight) * measured + weight * np.maximum(kish, measured), 1e-3)


def _score_bound(mean: "np.ndarray", wins: "np.ndarray", losses: "np.ndarray", n: "np.ndarray", t: "np.ndarray") -> "np.ndarray":
    """Tango's lower bound: the delta at which (mean - delta) equals t standard errors, each under that delta, by bisection."""
    import numpy as np

    fewer = np.maximum(np.minimum(wins, losses), FADE)
    continuity = CONTINUITY * FADE / fewer / n
    low, high = np.full(len(n), -1.0), mean.copy()
    for _ in range(40):  # to 1e-12
        delta = (low + high) / 2
        b = -wins - losses + (2 * n - wins + losses) * delta
        c = -losses * delta * (1 - delta)
        lost = (np.sqrt(np.maximum(b * b - 8 * n * c, 0)) - b) / (4 * n)  # P(loss) of greatest likelihood given delta
        error = np.sqrt(np.maximum(2 * lost + delta * (1 - delta), 0) / n)
        beyond = mean - delta - continuity > t * error
        low, high = np.where(beyond, delta, low), np.where(beyond, high, delta)
    return low
