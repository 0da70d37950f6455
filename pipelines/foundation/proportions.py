"""Shares and their bounds: Wilson's interval, also for answers that come in groups, and McNemar's exact test.

`alpha` is one-sided everywhere: (low, high) is the two-sided 1 - 2 alpha interval, each bound alone holds with 1 - alpha.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import statistics

if TYPE_CHECKING:
    import numpy as np


class Limits(NamedTuple):
    """Bounds of a share; floats, or arrays of one shape."""

    low: "float | np.ndarray"
    high: "float | np.ndarray"


class Share(NamedTuple):
    """A share with its bounds; without an observation the value is None and the bounds say nothing."""

    value: float | None
    low: float
    high: float


def wilson(successes: "float | np.ndarray", n: "float | np.ndarray", alpha: float) -> Limits:
    """Wilson's score interval (JASA 22, 1927) of a share; n may be an effective size, not a whole number; n = 0 gives (0, 1).

    It stays inside 0 and 1 and stays wide where all or none succeeded (n of n: the low bound is n / (n + z^2)).
    """
    import numpy as np
    from scipy.special import ndtri

    z2 = ndtri(1 - alpha) ** 2
    share = np.asarray(successes) / np.where(np.asarray(n) > 0, n, 1)
    centre = (share * n + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (np.maximum(share * (1 - share), 0) * n + z2 / 4)) / (n + z2)
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    return Limits(low, high) if np.ndim(low) else Limits(float(low), float(high))


def clustered(values: "np.ndarray", groups: "np.ndarray", alpha: float, stretch: float = 1.0) -> Share:
    """Mean of `values` (0 or 1, or graded between) whose `groups` (codes from 0) may answer alike; both of shape [n].

    Wilson's interval at the effective sample size n / deff * (t[n - 1] / t[df])^2 of Korn and Graubard (Survey
    Methodology 24, 1998), never above n. The design effect is that of `statistics.summarise`, measured on the rarer
    outcome and drawn to the group size where few groups have it. Graded values count as successes of one size, the one
    that keeps their second moment. `stretch` multiplies the variance. One item a group gives Wilson's interval itself;
    one group alone bounds nothing.
    """
    import numpy as np
    from scipy.special import stdtrit

    if not len(values):
        return Share(None, 0.0, 1.0)
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    common = mean > 0.5
    sample = statistics.summarise(1 - values if common else values, groups, np.zeros(len(values), dtype=int))
    n, size = float(sample.n[0]), float(sample.scale[0])
    if sample.clusters[0] < 2:
        return Share(mean, 0.0, 1.0)
    fewer = (stdtrit(n - 1, 1 - alpha) / stdtrit(sample.df[0], 1 - alpha)) ** 2
    effective = n * min(fewer, 1) / max(float(sample.effect[0]), 1) / stretch
    low, high = (size * bound for bound in wilson(sample.mean[0] / size * effective, effective, alpha))
    return Share(mean, 1 - high, 1 - low) if common else Share(mean, low, high)


def youden(sensitivity: Share, specificity: Share, correlation: float = 0.0) -> Share:
    """Sensitivity + specificity - 1 (Youden, Cancer 3, 1950); the parts may hold arrays.

    Its bounds add the squared distances of the parts to theirs: Newcombe (Statistics in Medicine 17, 1998), with the
    correlation of the two estimates as in Zou (Psychological Methods 12, 2007).
    """
    import numpy as np

    if sensitivity.value is None or specificity.value is None:
        return Share(None, -1.0, 1.0)

    def width(one: float, two: float) -> float:
        return np.sqrt(np.maximum(one**2 + two**2 + 2 * correlation * one * two, 0))

    value = sensitivity.value + specificity.value - 1
    low = value - width(sensitivity.value - sensitivity.low, specificity.value - specificity.low)
    high = value + width(sensitivity.high - sensitivity.value, specificity.high - specificity.value)
    return Share(value, np.maximum(low, -1.0), np.minimum(high, 1.0))


def mcnemar(differences: Sequence[float], groups: Sequence[object]) -> float:
    """Two-sided p-value that wins and losses are equally likely, exact (McNemar, Psychometrika 12, 1947).

    A group has one vote, the sign of its sum: items of a group are no independent evidence. Groups without a difference
    tell nothing here; with none that differ the p-value is 1.
    """
    from scipy.stats import binomtest

    net: dict[object, float] = {}
    for group, difference in zip(groups, differences, strict=True):
        net[group] = net.get(group, 0.0) + difference
    wins, losses = sum(value > 0 for value in net.values()), sum(value < 0 for value in net.values())
    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def codes(names: Sequence[object]) -> "np.ndarray":
    """Names as codes from 0 in the order of their first appearance; shape [n]."""
    import numpy as np

    seen: dict[object, int] = {}
    return np.fromiter((seen.setdefault(name, len(seen)) for name in names), dtype=int, count=len(names))
