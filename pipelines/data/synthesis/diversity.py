"""How varied the synthetic rows are, tonight's and all so far, beside as many real ones.

distinct-1 and distinct-2: distinct words and word pairs over all (Li et al., "A Diversity-Promoting Objective Function for
Neural Conversation Models", NAACL 2016). They fall with the number of words, hence as many real rows as synthetic ones.
self-BLEU: the mean BLEU of each text against all others, from 0 to 100, lower is more varied (Zhu et al., "Texygen", SIGIR
2018). Spread: the mean cosine distance of two texts' vectors, from 0 to 2.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import text, vectors

if TYPE_CHECKING:
    import numpy as np

MOST = 200  # texts that are compared with each other
FEWEST = 10  # below, the figures are chance


class Variety(NamedTuple):
    """Figures of one set of texts; None where they are too few."""

    rows: int
    distinct_1: float | None
    distinct_2: float | None
    self_bleu: float | None
    spread: float | None


def compare(train: Sequence[dict], before: Sequence[dict], tonight: Sequence[dict]) -> dict:
    """Figures of tonight's synthetic rows, of all up to tonight, of as many real train rows, and the balance of the labels."""
    draw = random.Random(0)
    sets = {name: _sample(rows, MOST, draw) for name, rows in {"tonight": tonight, "synthetic": (*before, *tonight)}.items()}
    sets["real"] = _sample(train, len(sets["synthetic"]), draw)
    labels = [row["label"] for row in (*train, *before) if row["label"] is not None]
    more = [row["label"] for row in tonight if row["label"] is not None]
    found = {name: figures._asdict() for name, figures in zip(sets, measure(*sets.values()), strict=True)}
    return found | {"balance": {"before": balance(labels), "after": balance(labels + more)}}


def measure(*sets: Sequence[str]) -> list[Variety]:
    """The figures of each set of texts; a set of fewer than FEWEST has none."""
    large = [texts for texts in sets if len(texts) >= FEWEST]
    found = vectors.embed([one for texts in large for one in texts]) if large else None  # once: its table takes seconds to read
    out, start = [], 0
    for texts in sets:
        if len(texts) < FEWEST:
            out.append(Variety(len(texts), None, None, None, None))
            continue
        words = [text.words(one) for one in texts]
        grams = ([word for one in words for word in one], [pair for one in words for pair in zip(one, one[1:], strict=False)])
        distinct = [round(len(set(gram)) / len(gram), 4) if gram else None for gram in grams]
        out.append(Variety(len(texts), *distinct, self_bleu(texts), spread(found[start : start + len(texts)])))
        start += len(texts)
    return out


def _sample(rows: Sequence[dict], most: int, draw: random.Random) -> list[str]:
    return [row["prompt"] for row in draw.sample(list(rows), min(len(rows), most))]


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU (4-grams, exponential smoothing, effective order) of each of two or more texts against the others."""
    from sacrebleu.metrics import BLEU

    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(found, [*texts[:place], *texts[place + 1 :]]).score for place, found in enumerate(texts)]
    return round(sum(scores) / len(scores), 2)


def spread(found: "np.ndarray") -> float:
    """Mean cosine distance of two of the texts, from their vectors [texts, d] of length 1."""
    n = len(found)
    similar = float((found.sum(axis=0) ** 2).sum() - (found**2).sum()) / (n * (n - 1))
    return round(1 - similar, 4)


def balance(labels: Sequence[str]) -> float | None:
    """Entropy of the labels over that of an even spread: 1 is even; None for fewer than two labels."""
    counts = Counter(labels)
    if len(counts) < 2:
        return None
    shares = [count / len(labels) for count in counts.values()]
    return round(-sum(share * math.log(share) for share in shares) / math.log(len(counts)), 4)
