"""Confidence sequences: bounds of a mean that hold at every look, however often one looks and whenever one stops.

A model in staging is looked at every night and confirmed on the first night that shows enough. A bound of fixed sample
size, looked at so often, lies far more often than its level says; these bounds do not, by Ville's inequality.

Betting (Waudby-Smith and Ramdas, JRSS B 86, 2024): who bets a fraction f of his capital that the mean is above m holds
the product of 1 - f + f (x - low) / (m - low) after the observations x, which grows beyond 1 / alpha with a chance of at
most alpha if the mean is m or less. The fractions are those of FRACTIONS at equal stakes (a mixture of fixed bets, after
Cover's universal portfolio), so that no variance is to be known or guessed: the stakes that suit it come to hold nearly
all the capital. m is refused once the capital was beyond 1 / alpha at any time: the bounds only narrow.

Of the observations it is asked that they are bounded and that each, given those before it, has the mean in question; so
one observation a group, and rows that were not there when the model was trained. The bounds hold as well for the
smallest (`high`: largest) of these means where they move. `python -m bench.sequences` measures level and length.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

# A bet of .3 suits right-or-wrong pairs at a margin of .05, .6 at .1, and 1 pairs that hardly ever differ. Smaller ones
# cost more looks than they bring; .05 is for means very near to m.
FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SLACK = 1e-9  # by which rounding may carry an observation out of its range
STEPS = 40  # of bisection: to 2e-12 on a range of 2


class Bounds(NamedTuple):
    """What is known of the mean at the end of a stream; each bound holds at 1 - alpha at every stopping time."""

    n: int
    mean: float | None  # of the observations; None where there is none
    low: float
    high: float


def bounds(observations: Sequence[float], alpha: float, low: float = -1.0, high: float = 1.0) -> Bounds:
    """One-sided 1 - alpha bounds on either side: (low, high) is a two-sided 1 - 2 alpha interval, the whole range at n = 0.

    Raises ValueError for an observation that is not a number in [low, high], naming its place, and for a bad alpha or range.
    """
    import numpy as np

    stream = np.asarray(observations, dtype=float).reshape(1, -1)
    below = float(lower_bounds(stream, alpha, low, high)[0])
    above = -float(lower_bounds(-stream, alpha, -high, -low)[0])
    return Bounds(stream.size, float(stream.mean()) if stream.size else None, below, above)


def lower_bounds(streams: "np.ndarray", alpha: float, low: float = -1.0, high: float = 1.0) -> "np.ndarray":
    """The lower 1 - alpha bound at the end of each stream; [streams, n] to [streams]. Raises as `bounds` does."""
    import numpy as np

    gains = _check(streams, alpha, low, high)
    below, above = np.zeros((len(gains), 1)), np.full((len(gains), 1), float(high - low))
    for _ in range(STEPS):  # the capital falls as m rises
        middle = (below + above) / 2
        refused = np.any(_capital(gains, middle) >= -np.log(alpha), axis=1, keepdims=True)
        below, above = np.where(refused, middle, below), np.where(refused, above, middle)
    return low + below[:, 0]


def exceeds(streams: "np.ndarray", mean: float, alpha: float, low: float = -1.0, high: float = 1.0) -> "np.ndarray":
    """Whether the lower bound has passed `mean` by each observation; [streams, n] to booleans of this shape. Raises as `bounds` does.

    The same as `lower_bounds` of every beginning of every stream, without its search; `mean` lies above `low`.
    """
    import numpy as np

    gains = _check(streams, alpha, low, high)
    if not mean > low:
        raise ValueError(f"mean {mean} must be above the lowest value {low}")
    return np.logical_or.accumulate(_capital(gains, mean - low) >= -np.log(alpha), axis=1)


def _capital(gains: "np.ndarray", mean: "float | np.ndarray") -> "np.ndarray":
    """Logarithm of what the bets on more than `mean` hold after each observation, [streams, n]; both counted from the lowest value."""
    import numpy as np

    held = np.full(gains.shape, -np.inf)
    with np.errstate(divide="ignore"):  # a bet of everything may lose everything
        for fraction in FRACTIONS:
            np.logaddexp(held, np.log(1 - fraction + fraction / mean * gains).cumsum(axis=1), out=held)
    return held - np.log(len(FRACTIONS))


def _check(streams: "np.ndarray", alpha: float, low: float, high: float) -> "np.ndarray":
    """The streams counted from `low`; raises ValueError."""
    import numpy as np

    if not (0 < alpha < 1 and -np.inf < low < high < np.inf):
        raise ValueError(f"alpha {alpha} must lie between 0 and 1, and low {low} below high {high}")
    gains = np.asarray(streams, dtype=float) - low
    wrong = ~((gains >= -SLACK) & (gains <= high - low + SLACK))  # a NaN is neither
    if wrong.any():
        stream, place = np.argwhere(wrong)[0]
        raise ValueError(f"observation {place} of stream {stream}, counted from 0, is {gains[stream, place] + low}: not in [{low}, {high}]")
    return np.clip(gains, 0, high - low)
