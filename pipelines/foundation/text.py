"""Texts compared as people would: normal form, words, and near-duplicates.

Near-duplicates are found by MinHash over word 2-shingles with LSH banding (Broder 1997; Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", chapter 3), and every candidate pair is then verified by its exact Jaccard similarity.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PERMUTATIONS = 64
BANDS = 16  # of 4 rows: a pair at Jaccard 0.8 is missed with probability (1 - 0.8**4)**16 = 0.0002
WORD = re.compile(r"<[A-Z]+>|\w+(?:['’]\w+)?")
PRIME = (1 << 31) - 1


def normalise(text: str) -> str:
    """NFKC, case folded, punctuation and runs of space folded to one space."""
    return " ".join(words(text))


def words(text: str) -> list[str]:
    """The words of the normal form, in order; a typed placeholder such as <EMAIL> is one word."""
    return [word.casefold() for word in WORD.findall(unicodedata.normalize("NFKC", text))]


def shingles(text: str) -> frozenset[str]:
    """Word pairs; a text of fewer than three words is one shingle, so that it equals only its own normal form."""
    found = words(text)
    if len(found) < 3:
        return frozenset([" ".join(found)])
    return frozenset(f"{one} {two}" for one, two in zip(found, found[1:], strict=False))


def jaccard(one: frozenset[str], two: frozenset[str]) -> float:
    """Share of shingles in common, from 0 to 1."""
    return len(one & two) / len(one | two) if one or two else 1.0


def near_duplicates(texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, enough to join all texts whose Jaccard similarity is at least `threshold` (above 0).

    Two texts that earlier pairs have joined already (single linkage) are not paired again. Deterministic; memory is 64 * 8
    bytes a text.
    """
    first: dict[str, int] = {}
    distinct: list[int] = []
    for index, text in enumerate(texts):
        other = first.setdefault(normalise(text), index)
        if other == index:
            distinct.append(index)
        else:
            yield other, index
    sets = [shingles(texts[index]) for index in distinct]
    parents = list(range(len(sets)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    for bucket in _buckets(_signatures(sets)):
        groups: list[list[int]] = []  # of rows joined already, so that a thousand variants of a template take a thousand comparisons
        for two in bucket:
            mine, others = [two], []
            for group in groups:
                near = (one for one in group if root(one) == root(two) or jaccard(sets[one], sets[two]) >= threshold)
                if (one := next(near, None)) is None:
                    others.append(group)
                    continue
                if root(one) != root(two):
                    parents[root(two)] = root(one)
                    yield distinct[one], distinct[two]
                mine += group
            groups = [*others, mine]


def _buckets(signatures: "np.ndarray") -> Iterator[list[int]]:
    """Rows that share a band of their signatures, two or more, in order."""
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for index, row in enumerate(signatures[:, band * width : (band + 1) * width]):
            buckets[row.tobytes()].append(index)
        yield from (bucket for bucket in buckets.values() if len(bucket) > 1)


def _signatures(sets: Sequence[frozenset[str]]) -> "np.ndarray":
    """MinHash signatures [texts, PERMUTATIONS] by universal hashing h(x) = (a x + b) mod p."""
    import numpy as np

    draw = np.random.default_rng(20)
    a = draw.integers(1, PRIME, PERMUTATIONS, dtype=np.int64)
    b = draw.integers(0, PRIME, PERMUTATIONS, dtype=np.int64)
    known: dict[str, int] = {}
    out = np.empty((len(sets), PERMUTATIONS), dtype=np.int64)
    for index, found in enumerate(sets):
        for shingle in found:
            if shingle not in known:
                known[shingle] = _hash(shingle)
        x = np.array([known[shingle] for shingle in found], dtype=np.int64)[:, None]
        out[index] = ((x * a + b) % PRIME).min(axis=0)
    return out


def _hash(shingle: str) -> int:
    """A 31-bit hash that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(shingle.encode(), digest_size=4).digest(), "big") >> 1
