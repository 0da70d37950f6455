"""How often a slice stops a candidate, by simulation: `python -m bench.slices [--draws 2000]`.

Each draw is a night of right-or-wrong items, champion at p = .80, outcome correlation .55, in 18 slices of equal size.
Shown: nights in which any slice fails at margin .10, for an equal candidate, one worse on every slice by the margin, and
one that is 2 points better on the mean and worse on a single slice.
"""

import argparse
import time

import numpy as np

from bench.gate import simulate
from pipelines.foundation import statistics

SLICES, MARGIN, ALPHA = 18, 0.10, 0.05


def failed(drop: float, per_slice: int, slices: int, draws: int, seed: int) -> np.ndarray:
    """Whether any of the slices fails, by draw; `drop` is the true one of each slice."""
    nights = simulate(per_slice, drop, draws * slices, 1, 0.0, seed)
    found = statistics.bounds(statistics.summarise(*nights), ALPHA)
    return (found.high < -MARGIN).reshape(draws, slices).any(axis=1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    draws, started = parser.parse_args().draws, time.perf_counter()
    print(f"{draws} draws a cell, {SLICES} slices, margin {MARGIN}, alpha {ALPHA}: nights that a slice stops")
    print("items a slice  equal on all  at the margin on all  20 points worse on one  25 points worse on one")
    for size in (10, 20, 40, 80):
        shares = [failed(0.0, size, SLICES, draws, 1), failed(MARGIN, size, SLICES, draws, 2)]
        rest = failed(-0.02, size, SLICES - 1, draws, 3)
        shares += [failed(drop, size, 1, draws, 4) | rest for drop in (0.20, 0.25)]
        print(f"{size:13d}  {shares[0].mean():12.1%}  {shares[1].mean():20.1%}  {shares[2].mean():22.1%}  {shares[3].mean():22.1%}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
