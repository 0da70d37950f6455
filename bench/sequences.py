"""False confirmations and length of the confidence sequence: `python -m bench.sequences [--streams 2000]`.

A stream is a model in staging: a pair a group, looked at after every 15 of 1,000, confirmed at the first look whose lower
bound is above -margin. Pairs are right or wrong (champion p = .80, outcome correlation .55), or the same but for 2 %
(for 5 % and 10 % worse at the margin: all of these lost). Beside it the naive rule: the gate's bound for a fixed number of
pairs, looked at as often. Exit code 1 where more than alpha of the models at the margin are confirmed.
"""

import argparse
import sys
import time

import numpy as np

from pipelines.foundation import sequences, statistics

CHAMPION, CORRELATION, ALPHA = 0.80, 0.55, 0.05
LONGEST, EVERY = 1000, 15
MARGINS = (0.05, 0.10)
CHANGED = 0.02


def simulate(kind: str, drop: float, streams: int, seed: int) -> np.ndarray:
    """Differences of -1, 0 and 1 with the mean -drop; [streams, LONGEST]."""
    if kind == "right or wrong":
        candidate = CHAMPION - drop
        both = CHAMPION * candidate + CORRELATION * np.sqrt(CHAMPION * (1 - CHAMPION) * candidate * (1 - candidate))
        won, lost = candidate - both, CHAMPION - both
    else:
        changed = max(CHANGED, drop)
        won, lost = (changed - drop) / 2, (changed + drop) / 2
    return np.random.default_rng(seed).choice([1.0, -1.0, 0.0], size=(streams, LONGEST), p=[won, lost, 1 - won - lost])


def naive(streams: np.ndarray, margin: float) -> np.ndarray:
    """Whether the gate's own bound for so many pairs is above -margin at each look; [streams, looks]."""
    n = np.arange(EVERY, LONGEST + 1, EVERY)
    won, lost = ((streams == sign).cumsum(axis=1)[:, n - 1].ravel().astype(float) for sign in (1, -1))
    size = np.tile(n, len(streams)).astype(float)
    one, mean = np.ones(len(size)), (won - lost) / size
    variance = ((won + lost) / size - mean**2) / (size - 1)
    sample = statistics.Sample(size, size.astype(int), mean, won, lost, one, variance, effect=one, df=size - 1, score=one > 0)
    return (statistics.bounds(sample, ALPHA).low > -margin).reshape(len(streams), -1)


def sequence(streams: np.ndarray, margin: float) -> np.ndarray:
    """The same of the confidence sequence."""
    return sequences.exceeds(streams, -margin, ALPHA)[:, EVERY - 1 :: EVERY]


def length(confirmed: np.ndarray, quantile: float) -> float:
    """Pairs until a share of the streams is confirmed; infinite where it never is."""
    first = np.where(confirmed.any(axis=1), (confirmed.argmax(axis=1) + 1.0) * EVERY, np.inf)
    return float(np.quantile(first, quantile, method="higher"))


def table(streams: int) -> bool:
    """Print every cell; returns whether the level was kept."""
    held = True
    noise = 2 * np.sqrt(ALPHA * (1 - ALPHA) / streams)
    print(f"{streams} streams of {LONGEST} pairs a cell, a look after every {EVERY}; alpha {ALPHA}")
    print("                            |    confirmed though at the margin |    equal: pairs until half, and 80 %, are confirmed")
    print("pairs            margin     |  sequence  fixed bound, each look |        sequence  fixed bound, each look (not valid)")
    for kind in ("right or wrong", "2 % changed"):
        for margin in MARGINS:
            worse, equal = (simulate(kind, drop, streams, seed=int(1000 * margin)) for drop in (margin, 0.0))
            ours, theirs = (rule(worse, margin).any(axis=1).mean() for rule in (sequence, naive))
            held &= bool(ours <= ALPHA + noise)
            lengths = [f"{length(found, 0.5):.0f}, {length(found, 0.8):.0f}" for found in (sequence(equal, margin), naive(equal, margin))]
            print(f"{kind:15s}  {margin:.2f}       |  {ours:8.1%}  {theirs:21.1%} |  {lengths[0]:>14s}  {lengths[1]:>23s}")
    return held


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    options = parser.parse_args()
    started = time.perf_counter()
    held = table(options.streams)
    print(f"{'the level was kept' if held else 'the level was not kept'}; {time.perf_counter() - started:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
