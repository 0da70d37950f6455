"""A difference that a fallible judge measured, brought to the scale of people's verdicts: Rogan and Gladen, with all uncertainty.

A judge with sensitivity and specificity below 1 shrinks every true difference by the factor sensitivity + specificity
- 1 (Rogan and Gladen, American Journal of Epidemiology 107, 1978); a pairwise judge by the mean of its verdict times the
people's, both +1 or -1. Dividing by the factor undoes that **on one assumption: the judge's errors do not depend on which
model wrote the answer**, and are on tonight's items what they were on the labelled ones. A judge that favours one
model's style breaks it, and no figure of a calibration on other answers shows that.

The factor is itself measured, so the bounds are those of a ratio of two independent estimates, each with its own
interval: MOVER-R (Donner and Zou, Statistical Methods in Medical Research 21, 2012; Newcombe, same journal 25, 2016), here for
differences of either sign. `python -m bench.judges` measures its coverage.
"""

from typing import TYPE_CHECKING

from pipelines.foundation.statistics import Interval

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.05  # one-sided, of the factor's bounds


def correct(interval: Interval, factor: dict, alpha: float = LEVEL) -> Interval:
    """The interval divided by the factor {"value", "low", "high"}, of which a part may be an array as the interval's may.

    `alpha` is the interval's one-sided level; the factor's 95 % bounds are stretched to it. A factor that is not shown
    to be above 0 bounds nothing: -inf and inf, and the difference stays as the judge saw it. Corrected figures are not
    cut at -1 and 1: a corrected difference beyond them says that the labelled items are unlike tonight's.
    """
    import numpy as np
    from scipy.special import ndtri

    value, low, high = (np.asarray(np.nan if factor[key] is None else factor[key], dtype=float) for key in ("value", "low", "high"))
    wider = ndtri(1 - alpha) / ndtri(1 - LEVEL)
    low, high = value - wider * (value - low), value + wider * (high - value)
    silent = ~((value > 0) & (low > 0))
    value, low, high = (np.where(silent, 1.0, part) for part in (value, low, high))
    difference = np.asarray(interval.difference, dtype=float)
    point = difference / value
    lower = np.where(silent, -np.inf, _ratio_bound(difference, np.asarray(interval.low, dtype=float), value, low, high))
    upper = np.where(silent, np.inf, -_ratio_bound(-difference, -np.asarray(interval.high, dtype=float), value, low, high))
    width = difference - np.asarray(interval.low)
    known = np.isfinite(width) & (width > 0)
    grown = np.where(known, np.where(known, point - lower, 1) / np.where(known, width, 1), 1 / value)
    parts = (point, lower, upper, np.where(silent, np.inf, np.asarray(interval.visible) * grown))
    return Interval(*(part if np.ndim(part) else float(part) for part in parts), interval.n, interval.clusters)


def _ratio_bound(mean: "np.ndarray", low: "np.ndarray", value: "np.ndarray", least: "np.ndarray", most: "np.ndarray") -> "np.ndarray":
    """Lower bound of mean / value: the ratio R at which the lower bound of mean - R * value is 0.

    That bound lies (mean - low)^2 + (R * e)^2 squared below, with e towards `most` where R is positive, which is where
    `low` is, and towards `least` where it is negative. An infinite `low` stays infinite.
    """
    import numpy as np

    known = np.isfinite(low)
    low = np.where(known, low, mean - 1)
    below = mean - low
    e = np.where(low > 0, most - value, value - least)
    square = value**2 - e**2
    root = np.sqrt(np.maximum(mean**2 * e**2 + below**2 * square, 0))
    # Two forms of one root: the first has no cancellation and allows e > value, the second is for any sign of the mean.
    positive = low * (2 * mean - low) / np.where(low > 0, mean * value + root, 1)
    negative = (mean * value - root) / np.where(low > 0, 1, square)
    return np.where(known, np.where(low > 0, positive, negative), -np.inf)
