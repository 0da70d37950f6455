"""Six recorded judges against people, and how well the correction of a judge's errors covers: `python -m bench.judges`.

The verdicts are those that LLMBar (Zeng et al., ICLR 2024) publishes, each pair judged in both orders: Natural with the
prompt Vanilla, FairEval with Vanilla_NoRules. Admission holds them against its default rules. The second table draws
nights on which a judge that errs grades two models, corrects the measured difference by a calibration that is drawn
too, and counts how often the truth lies above the lower bound, below the upper one, and within both (90 %). Exit code
1 where a coverage leaves its bar.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.evaluation.recorded import calibrate_recorded
from pipelines.foundation import statistics
from pipelines.foundation.correction import correct
from pipelines.foundation.proportions import Share, wilson, youden
from pipelines.foundation.statistics import Interval
from pipelines.sections import Admission
from pipelines.settings import ROOT

DATA = ROOT.parent / "shared/data/llmbar"
SUBSETS = (("Natural", "Vanilla", "Natural"), ("FairEval", "Vanilla_NoRules", "Processed/FairEval"))
ORDERS = {"original_order": "12", "swapped_order": "21"}
ALPHA = 0.05
COLUMNS = ("accuracy", "kappa", "tpr", "tnr", "correction")
SHORT = ("order_consistency", "first_position_share", "unscored", "length_correlation", "label_length_correlation")


def judges(subset: str, prompt: str, file: str, folder: Path) -> list[dict]:
    """Figures of the judges of one subset and prompt, read from files as anybody's would be."""
    pairs = json.loads((DATA / file / "dataset.json").read_text(encoding="utf-8"))
    labels = [
        {"item": place, "winner": row["label"]} | {key: row[key] for key in ("output_1", "output_2")} for place, row in enumerate(pairs)
    ]
    verdicts = []
    with (DATA / "published_verdicts.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if (row["subset"], row["prompt"]) == (subset, prompt):
                found = {"item": row["idx"], "judge": row["judge"]}
                verdicts += [found | {"order": order, "winner": row[f"winner_{key}"]} for key, order in ORDERS.items()]
    paths = []
    for name, rows in (("verdicts", verdicts), ("labels", labels)):
        paths.append(folder / f"{subset}-{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(calibrate_recorded(str(paths[0]), str(paths[1]), Admission()))


def recorded() -> None:
    """Print the table of the recorded judges."""
    if not DATA.is_dir():
        print(f"the data set LLMBar is not in {DATA}: no recorded judges")
        return
    print("One-sided 95 % bounds on either side in brackets; len: rank correlation of the verdicts with length, own: of the labels.")
    with tempfile.TemporaryDirectory() as folder:
        for subset, prompt, file in SUBSETS:
            started = time.perf_counter()
            rows = judges(subset, prompt, file, Path(folder))
            print(f"\n{subset}, {prompt}: {rows[0]['n']} pairs in both orders ({time.perf_counter() - started:.2f} s)")
            print(f"{'judge':13s}" + "".join(f"{name:20s}" for name in COLUMNS) + "consistent  first  unscored    len    own")
            for row in rows:
                cells = "".join("{:.3f} [{:.3f} {:.3f}] ".format(row[name], *row["intervals"][name]) for name in COLUMNS)
                share, first, unscored, length, own = (row[name] for name in SHORT)
                print(f"{row['judge']:13s}{cells}{share:10.3f}  {first:.3f}  {unscored:8d}  {length:+.2f}  {own:+.2f}")
            for row in rows:
                print(f"{row['judge']:13s}{'admitted' if row['admitted'] else 'refused'}: {row['why']}")


class Cell(NamedTuple):
    """One line of the table of coverage."""

    kind: str
    tpr: float
    tnr: float
    labelled: int
    items: int
    truth: float  # candidate minus champion; 0.7 of the champion's answers pass


def cells() -> list[Cell]:
    """Good and poor judges, few and many labels, equal models and a better or a worse one."""
    found = []
    for tpr, tnr, labelled in (
        (0.95, 0.95, 100),
        (0.85, 0.85, 100),
        (0.9, 0.7, 100),
        (0.9, 0.7, 400),
        (0.75, 0.75, 100),
        (0.65, 0.65, 100),
    ):
        for items in (100, 400):
            found += [Cell("pointwise", tpr, tnr, labelled, items, truth) for truth in (-0.1, 0.0, 0.1)]
            found += [Cell("pairwise", tpr, tnr, labelled, items, truth) for truth in (-0.2, 0.2) if tpr == tnr]
    return found


def tonight(cell: Cell, draws: int, rng: np.random.Generator) -> Interval:
    """What the judge measures: differences of two graded answers, or verdicts on pairs."""
    shape = (draws, cell.items)
    if cell.kind == "pairwise":
        better, right = rng.random(shape) < (1 + cell.truth) / 2, rng.random(shape) < cell.tpr
        return bounds(np.where(better == right, 1.0, -1.0))

    def graded(share: float) -> np.ndarray:
        return np.where(rng.random(shape) < share, rng.random(shape) < cell.tpr, rng.random(shape) >= cell.tnr).astype(float)

    return bounds(graded(0.7 + cell.truth) - graded(0.7))


def factor(cell: Cell, draws: int, rng: np.random.Generator) -> dict:
    """The judge's calibration: pairs, or 60 % good and 40 % bad answers."""
    if cell.kind == "pairwise":
        found = bounds(np.where(rng.random((draws, cell.labelled)) < cell.tpr, 1.0, -1.0))
        return {"value": found.difference, "low": found.low, "high": found.high}
    rates = []
    for share, rate in ((0.6, cell.tpr), (0.4, cell.tnr)):
        size = round(share * cell.labelled)
        right = rng.binomial(size, rate, draws)
        rates.append(Share(right / size, *wilson(right, size, ALPHA)))
    return youden(*rates)._asdict()


def bounds(values: np.ndarray) -> Interval:
    """Intervals of draws, one item a group; shape [draws, items]."""
    draws, n = values.shape
    return statistics.bounds(statistics.summarise(values.ravel(), np.tile(np.arange(n), draws), np.repeat(np.arange(draws), n)), ALPHA)


def coverage(draws: int) -> bool:
    """Print every cell; returns whether each bound holds as often as it says, within the noise of so many draws."""
    held, noise = True, 3 * np.sqrt(ALPHA * (1 - ALPHA) / draws)
    print(f"\nCoverage of the corrected difference, {draws} draws a cell; plain: of the uncorrected one")
    print("kind        tpr   tnr  labelled  items  truth  above low  below high  within   plain  width  silent")
    for number, cell in enumerate(cells()):
        rng = np.random.default_rng(number)
        plain, shrunk = tonight(cell, draws, rng), factor(cell, draws, rng)
        found = correct(plain, shrunk)
        low, high = found.low <= cell.truth, found.high >= cell.truth
        known = np.isfinite(found.low)
        off = min(low.mean(), high.mean()) < 1 - ALPHA - noise
        held &= not off
        inside = np.mean((plain.low <= cell.truth) & (plain.high >= cell.truth))
        print(
            f"{cell.kind:10s} {cell.tpr:.2f}  {cell.tnr:.2f}  {cell.labelled:8d}  {cell.items:5d}  {cell.truth:+.2f}  {low.mean():9.1%}  "
            f"{high.mean():10.1%}  {np.mean(low & high):6.1%}  {inside:6.1%}  {np.median((found.high - found.low)[known]):5.3f}  "
            f"{1 - known.mean():6.1%}{'  off its bar' if off else ''}"
        )
    return held


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    started = time.perf_counter()
    recorded()
    held = coverage(options.draws)
    print(f"{'all bars held' if held else 'a bar was missed'}; {time.perf_counter() - started:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
