"""Which rows' labels would teach most: those that classifiers are unsure of, differ on, or have seen nothing like.

Uncertainty is the margin between the two likeliest labels (Scheffer, Decomain and Wrobel 2001), disagreement the
Jensen-Shannon divergence of a classifier over words and one over characters, and whether the tuned model says a third thing
(query by committee, Seung et al. 1992), novelty the cosine distance to the nearest labelled row of another group. Each sign
ranks the rows, and has its share of the budget: measured on Banking77, uncertainty alone teaches most, and a mean of the
three ranks no more than chance; the other two have a tenth each, for what uncertainty cannot see. Rows are taken one by
one, one a group, each losing a little by its likeness to those taken (maximal marginal relevance, Carbonell and Goldstein 1998).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data.labelling import confident
from pipelines.foundation import vectors

if TYPE_CHECKING:
    import numpy as np

MOST = 6000  # rows that are looked at, the newest first: the command answers within a minute or two
LIKENESS = 0.1  # weight of the likeness to what was taken, against a rank from 0 to 1
SHARES = {"uncertain": 0.8, "disagreement": 0.1, "novel": 0.1}  # of the budget
BLOCK = 1024


class Pick(NamedTuple):
    """A row that a person should label."""

    row: dict
    proposed: str
    score: float  # its rank by the sign that it was taken for, from 0 to 1
    why: str


class _Taken(NamedTuple):
    """A row that was taken, and for which sign."""

    place: int
    sign: str


def choose(pool: Sequence[dict], labelled: Sequence[dict], predictions: Mapping[str, str], n: int) -> list[Pick]:
    """At most `n` rows of `pool`, the one that would teach most first; `predictions` are the tuned model's labels by example_id.

    Rows of the pool that have a label are judged by classifiers that did not see them. Raises ValueError where the labelled
    rows have fewer than two labels or groups.
    """
    import numpy as np

    pool = sorted(pool, key=lambda row: (row["night"], row["example_id"]), reverse=True)[:MOST]
    labelled = sorted(labelled, key=lambda row: (row["night"], row["example_id"]), reverse=True)[:MOST]
    if not pool or n <= 0:
        return []
    words, characters = _judge(pool, labelled)
    found = vectors.embed([row["prompt"] for row in (*pool, *labelled)])
    mine, known = found[: len(pool)], found[len(pool) :]
    third = np.array([predictions.get(row["example_id"], "") for row in pool], dtype=object)
    first = np.array(words.labels, dtype=object)[words.shares.argmax(axis=1)]
    mean = confident.joined(words, characters).shares
    top = np.sort(mean, axis=1)[:, ::-1]
    groups = [row["group_id"] for row in pool]
    ranks = {
        "uncertain": _rank(top[:, 1] - top[:, 0]),
        "disagreement": _rank(_divergence(words.shares, characters.shares) + ((third != "") & (third != first))),
        "novel": _rank(_distances(mine, known, groups, [row["group_id"] for row in labelled])),
    }
    picks = []
    for place, sign in _take(ranks, mine, groups, n):
        order = mean[place].argsort()[::-1][:2]
        why = _why(sign, [(words.labels[column], float(mean[place, column])) for column in order], third[place])
        picks.append(Pick(pool[place], words.labels[order[0]], round(float(ranks[sign][place]), 4), why))
    return picks


def _judge(pool: Sequence[dict], labelled: Sequence[dict]) -> tuple[confident.Judged, confident.Judged]:
    """What the classifiers over words and over characters say of the pool."""
    texts, labels, groups = ([row[name] for row in labelled] for name in ("prompt", "label", "group_id"))
    if pool[0]["label"] is not None:  # among the labelled rows
        places = {row["example_id"]: place for place, row in enumerate(labelled)}
        mine = [places[row["example_id"]] for row in pool]
        out = [confident.out_of_fold(texts, labels, groups, features) for features in ("words", "characters")]
        return out[0]._replace(shares=out[0].shares[mine]), out[1]._replace(shares=out[1].shares[mine])
    if len(set(labels)) < 2:
        raise ValueError("a classifier needs two labels")
    models = [confident.classifier(features, len(texts)).fit(texts, labels) for features in ("words", "characters")]
    asked = [row["prompt"] for row in pool]
    return tuple(confident.Judged([str(name) for name in model.classes_], model.predict_proba(asked)) for model in models)


def _divergence(one: "np.ndarray", two: "np.ndarray") -> "np.ndarray":
    """Jensen-Shannon divergence of each row's distributions, from 0 to 1."""
    import numpy as np

    middle = (one + two) / 2

    def against(side: "np.ndarray") -> "np.ndarray":
        ratio = np.divide(side, middle, out=np.ones_like(side), where=side > 0)
        return (side * np.log2(ratio)).sum(axis=1)

    return np.clip((against(one) + against(two)) / 2, 0, 1)


def _distances(mine: "np.ndarray", known: "np.ndarray", groups: Sequence[str], others: Sequence[str]) -> "np.ndarray":
    """Cosine distance of each row to the nearest labelled row of another group."""
    import numpy as np

    out, apart = np.ones(len(mine)), np.array(others, dtype=object)
    for start in range(0, len(mine), BLOCK):
        near = mine[start : start + BLOCK] @ known.T
        near[np.array(groups[start : start + BLOCK], dtype=object)[:, None] == apart[None, :]] = -1
        out[start : start + BLOCK] = 1 - near.max(axis=1, initial=-1)
    return out


def _rank(values: "np.ndarray") -> "np.ndarray":
    """Ranks from 0 to 1, equal values sharing one."""
    import numpy as np

    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(values))


def _take(ranks: "dict[str, np.ndarray]", found: "np.ndarray", groups: Sequence[str], n: int) -> list[_Taken]:
    """At most `n` rows, no two of a group, the signs taking turns by their shares."""
    import numpy as np

    open_, likeness, names = np.ones(len(groups), bool), np.zeros(len(groups)), np.array(groups, dtype=object)
    counts, taken = dict.fromkeys(ranks, 0), []
    while len(taken) < n and open_.any():
        sign = min(ranks, key=lambda name: counts[name] / SHARES[name])
        counts[sign] += 1
        place = int(np.where(open_, ranks[sign] - LIKENESS * likeness, -np.inf).argmax())
        taken.append(_Taken(place, sign))
        open_ &= names != groups[place]
        likeness = np.maximum(likeness, found @ found[place])
    return taken


def _why(sign: str, best: list[tuple[str, float]], third: str) -> str:
    """What to tell of a row; `best` are its likeliest labels."""
    if sign == "uncertain":
        return "uncertain: " + ", ".join(f"{label} {share:.2f}" for label, share in best)
    if sign == "novel":
        return "novel: no labelled row of another group is near it"
    tuned = f", the tuned model says {third}" if third and third != best[0][0] else ""
    return f"disagreement between classifiers over words and over characters{tuned}"
