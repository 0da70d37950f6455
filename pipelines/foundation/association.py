"""Agreement beyond chance and rank correlation, each with bounds that count groups: Cohen's kappa, Spearman's rho.

`alpha` is one-sided, as in `proportions`. Arguments are arrays of one shape [n]; `groups` are codes from 0.
"""

from typing import TYPE_CHECKING

from pipelines.foundation import statistics
from pipelines.foundation.proportions import Share, clustered

if TYPE_CHECKING:
    import numpy as np


def kappa(said: "np.ndarray", gold: "np.ndarray", groups: "np.ndarray", alpha: float, nominal: bool) -> Share | None:
    """Cohen's kappa (1960), weighted quadratically (1968) unless nominal; None where the labels are all of one class.

    Kappa is one minus the share of disagreement over the one expected by chance. Its interval is that share's
    (`proportions.clustered`), stretched by the delete-one-group jackknife variance of kappa itself. The jackknife needs
    no seed and no number of draws, and sums by group give it in one pass; Wilson's interval around it stays wide where
    nobody ever disagreed, which a jackknife or a bootstrap alone would call certain.

    Disagreement is written as a product of features of the verdict and of the label, so that chance, the product of
    the features' means, follows from sums by group for any number of grades.
    """
    import numpy as np

    if len(gold) == 0 or gold.min() == gold.max():
        return None
    one = np.ones_like(said)
    if nominal:
        levels = np.unique(np.concatenate([said, gold]))
        ours, theirs = (np.column_stack([one, *(values == level for level in levels)]) for values in (said, gold))
        theirs[:, 1:] *= -1
    else:
        span = max(said.max(), gold.max()) - min(said.min(), gold.min())
        x, y = (said - gold.mean()) / span, (gold - gold.mean()) / span
        ours, theirs = np.column_stack([x**2, one, x]), np.column_stack([one, y**2, -2 * y])
    wrong = np.clip((ours * theirs).sum(axis=1), 0, 1)
    wrong[said == gold] = 0  # and not 1e-17
    chance = float((ours.mean(axis=0) * theirs.mean(axis=0)).sum())
    owner = np.unique(groups, return_inverse=True)[1]
    found = clustered(wrong, owner, alpha, stretch=_stretch(ours, theirs, wrong, chance, owner))
    return Share(1 - found.value / chance, max(1 - found.high / chance, -1.0), min(1 - found.low / chance, 1.0))


def _stretch(ours: "np.ndarray", theirs: "np.ndarray", wrong: "np.ndarray", chance: float, owner: "np.ndarray") -> float:
    """Jackknife variance of kappa over the one it would have if chance were known; shapes [n, features], [n], [n]."""
    import numpy as np

    def without(values: np.ndarray) -> np.ndarray:
        """Means of the others, of each group; shape [groups]."""
        return (values.sum() - np.bincount(owner, weights=values)) / (len(owner) - np.bincount(owner))

    sample = statistics.summarise(wrong, owner, np.zeros_like(owner))
    if sample.clusters[0] < 2 or sample.variance[0] <= 0:
        return 1.0
    by_chance = sum(without(a) * without(b) for a, b in zip(ours.T, theirs.T, strict=True))
    kappas = np.where(by_chance > 1e-12, 1 - without(wrong) / np.where(by_chance > 1e-12, by_chance, 1), 0)
    variance = (1 - 1 / len(kappas)) * ((kappas - kappas.mean()) ** 2).sum()
    ratio = float(variance * chance**2 / sample.variance[0])
    return ratio if ratio > 1e-6 else 1.0  # a judge that only ever says one thing has kappa 0 in every part: nothing was measured


def spearman(values: "np.ndarray", others: "np.ndarray", groups: "np.ndarray", alpha: float) -> Share | None:
    """Spearman's rank correlation with the bounds of Bonett and Wright (Psychometrika 65, 2000) on the number of groups.

    None where either side is constant.
    """
    import numpy as np
    from scipy.special import ndtri

    if len(values) == 0 or values.min() == values.max() or others.min() == others.max():
        return None
    ranks = []
    for column in (values, others):
        _, place, count = np.unique(column, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - (count - 1) / 2)[place])
    value = float(np.clip(np.corrcoef(*ranks)[0, 1], -1, 1))
    size = len(np.unique(groups))
    if size <= 3:
        return Share(value, -1.0, 1.0)
    centre = np.arctanh(np.clip(value, -1 + 1e-9, 1 - 1e-9))
    width = ndtri(1 - alpha) * np.sqrt((1 + value**2 / 2) / (size - 3))
    return Share(value, float(np.tanh(centre - width)), float(np.tanh(centre + width)))
