"""Macro-F1 and the paired difference of two models in it, by a bootstrap over clusters.

Macro-F1 is no mean of items, so its interval resamples whole clusters, the same ones for both models (paired cluster
bootstrap; Field and Welsh, JRSS B 69, 2007): the difference plus or minus t times the bootstrap's standard error.
Where hardly any answer differs a bootstrap sees no variance at all; the interval is therefore never narrower than the
score interval of the share of right answers of the same pairs (`statistics.compare`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.foundation import statistics

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000


def macro_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Mean F1 over the labels that occur in `gold`, in [0, 1]; an answer that is no such label is wrong.

    scikit-learn's `f1_score(average="macro", labels=sorted(set(gold)), zero_division=0)`.
    """
    import numpy as np

    labels = sorted(set(gold))
    counts = _counts(_codes(labels, gold), _codes(labels, predicted), np.zeros(len(gold), dtype=int), len(labels))
    return float(_f1(counts.sum(axis=0, keepdims=True))[0])


def compare(
    gold: Sequence[str], champion: Sequence[str | None], candidate: Sequence[str | None], groups: Sequence[object], alpha: float
) -> statistics.Interval:
    """The interval of macro-F1(candidate) - macro-F1(champion), all of shape [pairs]; one seed, so that a repeated night says the same."""
    import numpy as np

    labels = sorted(set(gold))
    truth, cluster = _codes(labels, gold), np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    before, after = (_codes(labels, answers) for answers in (champion, candidate))
    right = statistics.compare((after == truth).astype(float) - (before == truth), groups, alpha)
    old, new = (_counts(truth, answers, cluster, len(labels)) for answers in (before, after))
    difference = float((_f1(new.sum(axis=0, keepdims=True)) - _f1(old.sum(axis=0, keepdims=True)))[0])
    if right.clusters < 2:
        return right._replace(difference=difference)
    draws = np.random.default_rng(0).multinomial(right.clusters, np.full(right.clusters, 1 / right.clusters), size=RESAMPLES).astype(float)
    resampled = _f1(_resample(draws, new)) - _f1(_resample(draws, old))
    df = right.clusters - 1
    t = statistics.quantile(df, 1 - alpha)
    width = t * float(resampled.std(ddof=1)) * (right.clusters / df) ** 0.5
    low = difference - max(width, right.difference - right.low)
    high = difference + max(width, right.high - right.difference)
    return statistics.Interval(difference, low, high, float(statistics.visible(difference - low, df, alpha)), right.n, right.clusters)


def _codes(labels: list[str], answers: Sequence[str | None]) -> "np.ndarray":
    import numpy as np

    places = {label: place for place, label in enumerate(labels)}
    return np.array([places.get(answer, -1) if answer is not None else -1 for answer in answers], dtype=int)


def _counts(gold: "np.ndarray", predicted: "np.ndarray", cluster: "np.ndarray", labels: int) -> "np.ndarray":
    """Of each cluster and label: right answers, and answers plus gold rows, and gold rows; shape [clusters, 3, labels]."""
    import numpy as np

    found = np.zeros((cluster.max() + 1, 3, labels))
    known = predicted >= 0
    np.add.at(found, (cluster[gold == predicted], 0, gold[gold == predicted]), 1)
    np.add.at(found, (cluster[known], 1, predicted[known]), 1)
    np.add.at(found, (cluster, 1, gold), 1)
    np.add.at(found, (cluster, 2, gold), 1)
    return found


def _resample(draws: "np.ndarray", counts: "np.ndarray") -> "np.ndarray":
    return (draws @ counts.reshape(len(counts), -1)).reshape(len(draws), *counts.shape[1:])


def _f1(counts: "np.ndarray") -> "np.ndarray":
    """Macro-F1 of each row of counts [rows, 3, labels]; a label without a gold row in a resample is left out of its mean."""
    import numpy as np

    right, sums, present = counts[:, 0], counts[:, 1], counts[:, 2] > 0
    each = np.where(present, 2 * right / np.maximum(sums, 1), 0)
    return each.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
