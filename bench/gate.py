"""Level, coverage and power of the gate by simulation: `PYTHONPATH=. python bench/gate.py [--draws 4000]`.

Each draw is a night: right-or-wrong items of a champion at p = .80 and a candidate, outcome correlation .55, alone or
in clusters of 1 to 20 items in which each item repeats its cluster's outcome with probability sqrt(ICC). Graded items
(like ROUGE-L, a win or a loss worth 0 to 1) follow. Exit code 1 where a level or a coverage leaves its bar.
"""

import argparse
import sys
import time
from typing import NamedTuple

import numpy as np

from pipelines.foundation import statistics

CHAMPION, CORRELATION, ALPHA = 0.80, 0.55, 0.05


class Nights(NamedTuple):
    """Simulated pairs; arrays of shape [pairs]."""

    differences: np.ndarray
    groups: np.ndarray
    draws: np.ndarray


def simulate(n: int, drop: float, draws: int, largest: int, icc: float, seed: int) -> Nights:
    """Binary items of `draws` nights with n pairs each, in clusters of 1 to `largest` items."""
    rng = np.random.default_rng(seed)
    candidate = CHAMPION - drop
    both = CHAMPION * candidate + CORRELATION * np.sqrt(CHAMPION * (1 - CHAMPION) * candidate * (1 - candidate))
    shares = [candidate - both, CHAMPION - both, 1 - CHAMPION - candidate + 2 * both]
    own = rng.choice([1.0, -1.0, 0.0], size=(draws, n), p=shares)
    groups = clusters(rng, draws, n, largest)
    shared = rng.choice([1.0, -1.0, 0.0], size=(draws, n), p=shares)
    copied = rng.random((draws, n)) < np.sqrt(icc)
    differences = np.where(copied, np.take_along_axis(shared, groups, 1), own)
    return Nights(differences.ravel(), groups.ravel(), np.repeat(np.arange(draws), n))


def clusters(rng: np.random.Generator, draws: int, n: int, largest: int) -> np.ndarray:
    """Codes of clusters whose sizes are uniform on 1 to `largest`; shape [draws, n]."""
    if largest == 1:
        return np.tile(np.arange(n), (draws, 1))
    ends = np.cumsum(rng.integers(1, largest + 1, size=(draws, n)), axis=1)
    return np.array([np.searchsorted(row, np.arange(n), side="right") for row in ends])


def graded(nights: Nights, seed: int) -> Nights:
    """The same nights with graded scores: a win or a loss is worth between 0 and 1, 1/2 in the mean."""
    rng = np.random.default_rng(seed)
    return nights._replace(differences=nights.differences * rng.beta(2, 2, len(nights.differences)))


def measure(nights: Nights, truth: float, margin: float) -> dict[str, float]:
    """Shares of draws: promoted, rejected, one-sided and 95 % two-sided coverage; and the median smallest visible drop."""
    sample = statistics.summarise(*nights)
    one, two = statistics.bounds(sample, ALPHA), statistics.bounds(sample, ALPHA / 2)
    enough = one.clusters >= 2
    return {
        "promoted": float(np.mean((one.low > -margin) & enough)),
        "rejected": float(np.mean((one.high < -margin) & enough)),
        "below": float(np.mean(one.low <= truth)),
        "coverage": float(np.mean((two.low <= truth) & (truth <= two.high))),
        "visible": float(np.median(one.visible)),
        "clusters": float(np.mean(one.clusters)),
    }


class Cell(NamedTuple):
    """One line of the table."""

    kind: str  # binary | graded
    n: int
    largest: int  # cluster size
    icc: float
    drop: float  # true, of binary items; graded ones drop half of it
    margin: float


def cells() -> list[Cell]:
    """What is simulated: n from 50 to 1,000, alone and in clusters; worse than the margin, at it, and equal."""
    shapes = [(n, 1, 0.0) for n in (50, 100, 200, 500, 1000)]
    shapes += [(n, 20, icc) for n in (50, 100, 200, 500, 1000) for icc in (0.1, 0.3, 0.7)]
    found = [
        Cell("binary", *shape, drop, margin) for shape in shapes for drop, margin in ((0.05, 0.03), (0.03, 0.03), (0.0, 0.03), (0.0, 0.05))
    ]
    return found + [Cell("graded", *shape, 0.10, 0.05) for shape in shapes]


def table(draws: int) -> bool:
    """Print every cell; returns whether all bars hold: level at most alpha, coverage of binary items 93 to 97 %."""
    held = True
    noise = 2 * np.sqrt(ALPHA * (1 - ALPHA) / draws)
    print(f"{draws} draws a cell; champion {CHAMPION}, correlation {CORRELATION}, alpha {ALPHA}")
    print("items       n  clusters  ICC  drop  margin  promoted  rejected  truth above bound  in 95 % interval  visible")
    for cell in cells():
        nights = simulate(
            cell.n, cell.drop, draws, cell.largest, cell.icc, seed=cell.n + cell.largest + int(100 * cell.icc + 1000 * cell.drop)
        )
        truth = -cell.drop if cell.kind == "binary" else -cell.drop / 2
        found = measure(nights if cell.kind == "binary" else graded(nights, seed=cell.n), truth, cell.margin)
        at = truth == -cell.margin
        off = truth <= -cell.margin and cell.kind == "binary" and found["promoted"] > ALPHA + at * noise
        # Clusters are few below 30: the interval is then wider than it need be, and never narrower.
        off |= cell.kind == "binary" and not 0.93 - noise <= found["coverage"] <= (0.97 + noise if found["clusters"] >= 30 else 1)
        held &= not off
        print(
            f"{cell.kind}  {cell.n:5d}  {found['clusters']:8.0f}  {cell.icc:.1f}  {cell.drop:.2f}    {cell.margin:.2f}  "
            f"{found['promoted']:8.1%}  {found['rejected']:8.1%}  {found['below']:17.1%}  {found['coverage']:16.1%}  "
            f"{found['visible']:7.3f}{'  off its bar' if off else ''}"
        )
    return held


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    started = time.perf_counter()
    held = table(options.draws)
    print(f"{'all bars held' if held else 'a bar was missed'}; {time.perf_counter() - started:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
