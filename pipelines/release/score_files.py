"""The gate on a file of scores: `python -m pipelines gate --scores FILE --margin 0.03 [--alpha 0.05] [--batch] --json`.

With one metric there is no second one to be better on: PROMOTE means not worse than the margin allows, REJECT worse
than that. `--batch` takes a column `draw` and decides each draw on its own, all of them at once.
"""

import math
from collections.abc import Iterator

from pipelines.errors import UserError
from pipelines.foundation import proportions, statistics
from pipelines.foundation.statistics import Interval
from pipelines.release.decide import explain, measure
from pipelines.release.evidence import NOTHING, Evidence
from pipelines.release.scores import read_scores
from pipelines.sections import Gate

VERDICTS = {"PASS": "PROMOTE", "FAIL": "REJECT", "INSUFFICIENT_DATA": "INSUFFICIENT_DATA"}
MIN_ITEMS: int = Gate.model_fields["min_items"].default


def decide_file(path: str, margin: float, alpha: float) -> dict:
    """The verdict on one file of scores (see `scores`); raises UserError for a bad file, margin or alpha."""
    [found] = _decide_scores(path, margin, alpha, batch=False)
    return found


def decide_batch(path: str, margin: float, alpha: float) -> Iterator[dict]:
    """One verdict a draw of a file with a column `draw`, in order of first appearance: what `decide_file` says of its rows."""
    yield from _decide_scores(path, margin, alpha, batch=True)


def _decide_scores(path: str, margin: float, alpha: float, batch: bool) -> Iterator[dict]:
    import numpy as np

    if not (math.isfinite(margin) and margin >= 0):
        raise UserError(f"--margin {margin} must be 0 or more, in the score's own units")
    if not 0 < alpha < 0.5:
        raise UserError(f"--alpha {alpha} must lie between 0 and 0.5")
    scores = read_scores(path, batch)
    names = list(dict.fromkeys(scores.draws))
    champion, candidate = (np.array(side, dtype=float) for side in (scores.champion, scores.candidate))  # None becomes NaN
    differences, draws = candidate - champion, proportions.codes(scores.draws)
    whole = np.isfinite(differences)
    missing = np.bincount(draws[~whole], minlength=len(names))
    kept, place = np.unique(draws[whole], return_inverse=True)  # draws without a whole pair have no interval
    places = {int(draw): index for index, draw in enumerate(kept)}
    if len(kept):
        found = statistics.bounds(statistics.summarise(differences[whole], proportions.codes(scores.groups)[whole], place), alpha)
    for code, name in enumerate(names):
        at = places.get(code)
        interval = NOTHING if at is None else Interval(*(part[at].item() for part in found))
        metric = measure(Evidence(None, None, lambda _, interval=interval: interval, int(missing[code]), margin), MIN_ITEMS, alpha)
        reason = explain("score", metric, alpha)
        shown = {key: metric[key] for key in ("n", "clusters", "difference", "low", "high", "bound", "visible", "margin", "missing")}
        yield ({"draw": name} if batch else {}) | {"verdict": VERDICTS[metric["verdict"]]} | shown | {"alpha": alpha, "reason": reason}
