"""Labels that look wrong, by confident learning, and how sure a cheap classifier is of each row.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 70, 2021): every row is
judged by a classifier that saw no row of its group; a label's threshold is the mean probability of it among the rows that
bear it; a row whose probability of another label passes that label's threshold is counted there in the confident joint;
of each pair of labels as many rows as the joint says (calibrated) are proposed, those with the widest margin first
(prune by noise rate).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipelines.foundation import text

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

FOLDS = 5
SEED = 0
MANY = 3000  # rows above which a feature must come twice: seconds instead of minutes


class Judged(NamedTuple):
    """What classifiers say of rows that they did not see."""

    labels: list[str]  # of the columns
    shares: "np.ndarray"  # [rows, labels], probabilities; a label that a row's fold did not have is 0


class Doubt(NamedTuple):
    """A row whose label looks wrong."""

    place: int  # of the row
    given: str
    proposed: str
    confidence: float  # probability of the proposed label
    margin: float  # how far it is above the probability of the given one, from 0 to 1


def classifier(features: Literal["words", "characters"], rows: int) -> "Pipeline":
    """TF-IDF and logistic regression, not fitted yet; `rows` to learn from."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    least = 2 if rows > MANY else 1
    if features == "words":
        found = TfidfVectorizer(
            tokenizer=text.words, token_pattern=None, lowercase=False, ngram_range=(1, 2), sublinear_tf=True, min_df=least
        )
    else:
        found = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=max(2, 2 * least), max_features=20_000)
    return make_pipeline(found, LogisticRegression(C=10, max_iter=60, tol=1e-3, class_weight="balanced"))


def out_of_fold(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str], features: Literal["words", "characters"] = "words"
) -> Judged:
    """Probabilities by cross-validation whose folds cut through no group; FOLDS of them, or as many as the rarest label allows.

    Raises ValueError for fewer than two labels or two groups.
    """
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedGroupKFold

    names = sorted(set(labels))
    folds = min(FOLDS, len(set(groups)))
    if len(names) < 2 or folds < 2:
        raise ValueError("cross-validation needs two labels and two groups")
    shares = np.zeros((len(texts), len(names)))
    column = {name: place for place, name in enumerate(names)}
    said, given = np.array(texts, dtype=object), np.array(labels, dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a ranking needs no more steps
        warnings.filterwarnings("ignore", message="The least populated class")  # its rows are judged without it, and so never proposed
        for seen, held in StratifiedGroupKFold(folds, shuffle=True, random_state=SEED).split(said, given, np.array(groups, dtype=object)):
            if len(set(given[seen])) < 2:
                shares[held, column[given[seen][0]]] = 1.0
                continue
            model = classifier(features, len(seen)).fit(said[seen], given[seen])
            shares[np.ix_(held, [column[name] for name in model.classes_])] = model.predict_proba(said[held])
    return Judged(names, shares)


def find(judged: Judged, labels: Sequence[str]) -> list[Doubt]:
    """Rows whose label looks wrong, the widest margin first."""
    import numpy as np

    column = {name: place for place, name in enumerate(judged.labels)}
    given = np.array([column[label] for label in labels])
    own = judged.shares[np.arange(len(given)), given]
    sizes = np.bincount(given, minlength=len(column))
    thresholds = np.bincount(given, own, len(column)) / np.maximum(sizes, 1)
    passing = np.where(judged.shares >= np.maximum(thresholds, 1e-6), judged.shares, -1.0)
    counted = passing.argmax(axis=1)
    sure = passing.max(axis=1) >= 0
    joint = np.zeros((len(column), len(column)))
    np.add.at(joint, (given[sure], counted[sure]), 1)
    held = joint.sum(axis=1, keepdims=True)
    expected = np.divide(joint, held, out=np.zeros_like(joint), where=held > 0) * sizes[:, None]  # calibrated to the labels' sizes
    found: list[Doubt] = []
    for one, two in zip(*np.nonzero(expected), strict=True):
        if one == two:
            continue
        margins = judged.shares[:, two] - own
        places = np.flatnonzero((given == one) & (judged.shares.argmax(axis=1) == two) & (margins > 0))
        for place in places[np.argsort(-margins[places], kind="stable")][: int(np.rint(expected[one, two]))]:
            found.append(_doubt(int(place), judged, one, two, margins[place]))
    return sorted(found, key=lambda doubt: (-doubt.margin, doubt.place))


def joined(one: Judged, two: Judged) -> Judged:
    """The mean of what two classifiers say of the same rows and labels."""
    return Judged(one.labels, (one.shares + two.shares) / 2)


def confusions(rows: Sequence[dict]) -> dict[str, list[str]]:
    """Each label with those that its rows are taken for, the most frequent first; at most three, empty where labels are too few."""
    labelled = [row for row in rows if row["label"] is not None]
    if len({row["label"] for row in labelled}) < 2 or len({row["group_id"] for row in labelled}) < 2:
        return {}
    texts, labels, groups = zip(*((row["prompt"], row["label"], row["group_id"]) for row in labelled), strict=True)
    judged = out_of_fold(texts, labels, groups)
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    for label, shares in zip(labels, judged.shares, strict=True):
        for place in shares.argsort()[::-1][:2]:  # the runner-up too: few rows are taken for another label outright
            if judged.labels[place] != label:
                taken[label][judged.labels[place]] += float(shares[place])
    return {label: [name for name, _ in found.most_common(3)] for label, found in taken.items()}


def _doubt(place: int, judged: Judged, one: int, two: int, margin: float) -> Doubt:
    return Doubt(place, judged.labels[one], judged.labels[two], round(float(judged.shares[place, two]), 4), round(float(margin), 4))
