"""Near-duplicates among millions of texts: MinHash signatures in bands, every candidate pair verified.

Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3 (bands); Bawa, Condie and Ganesan, "LSH Forest"
(WWW 2005): where a bucket is large, only those are compared whose signatures go on most alike, so that time stays linear.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import minhash

if TYPE_CHECKING:
    import numpy as np

MISSED = 5e-4  # share of pairs exactly at the threshold that no band may find; of more similar ones far fewer are missed
COMPARED = 1 << 22  # candidates of a band: where there are more, large buckets are searched nearby only
NEARBY = 32
ROWS = 1 << 15  # whose candidates are held at a time


class Pairs(NamedTuple):
    """Pairs of places and their Jaccard similarities, all of one length."""

    one: "np.ndarray"
    two: "np.ndarray"
    similarity: "np.ndarray"


class Index:
    """Texts to be found again by near-duplicates of them, at one threshold (Jaccard, above 0)."""

    def __init__(self, signed: minhash.Signed, threshold: float) -> None:
        import numpy as np

        self.signed, self.threshold = signed, threshold
        self.rows = _rows(threshold)
        self.bands = minhash.PERMUTATIONS // self.rows
        self.limit = max(COMPARED // max(len(signed.normal), 1), NEARBY)
        self.sizes = np.diff(signed.starts)
        self.orders, self.keys = [], []
        for band in range(self.bands):
            keys = _keys(signed.signatures, band, self.rows)
            order = np.argsort(keys, kind="stable").astype(np.int32)
            self.orders.append(order)
            self.keys.append(keys[order])

    def find(self, signed: minhash.Signed, wanted: "np.ndarray | None" = None) -> Pairs:
        """(place in `signed`, place in the index) of every pair that is found, in order; `wanted` [index size] says which matter.

        Texts without a word are near to nothing.
        """
        import numpy as np

        wanted = self.signed.worded if wanted is None else wanted & self.signed.worded
        found = [np.empty(0, np.int64)]
        for band in range(self.bands):
            one, two = self.candidates(signed, band)
            matters = wanted[two]
            found.append(one[matters] << 32 | two[matters])
        pairs = minhash.distinct(np.concatenate(found))
        return self.verify(signed, pairs >> 32, pairs & 0xFFFFFFFF)

    def verify(self, signed: minhash.Signed, one: "np.ndarray", two: "np.ndarray") -> Pairs:
        """The pairs whose similarity reaches the threshold.

        Where signatures agree in far less than that (four standard errors) the similarity is not reckoned: most candidates.
        """
        import numpy as np

        least = minhash.PERMUTATIONS * self.threshold - 4 * (minhash.PERMUTATIONS * self.threshold * (1 - self.threshold)) ** 0.5
        likely = np.empty(len(one), bool)
        for at in range(0, len(one), minhash.PAIRS):
            mine, yours = one[at : at + minhash.PAIRS], two[at : at + minhash.PAIRS]
            likely[at : at + minhash.PAIRS] = (signed.signatures[mine] == self.signed.signatures[yours]).sum(axis=1) >= least
        one, two = one[likely], two[likely]
        similarity = minhash.jaccards(signed, one, self.signed, two)
        near = similarity >= self.threshold
        return Pairs(one[near], two[near], similarity[near])

    def candidates(self, signed: minhash.Signed, band: int) -> "tuple[np.ndarray, np.ndarray]":
        """Pairs that share a band and whose sizes allow the threshold: a set is at least `threshold` times as large as the other."""
        import numpy as np

        keys, low32 = _keys(signed.signatures, band, self.rows), np.uint64(0xFFFFFFFF)
        low = np.searchsorted(self.keys[band], keys & ~low32)
        high = np.searchsorted(self.keys[band], keys | low32, "right")
        if len(large := np.flatnonzero(high - low > self.limit)):
            middle = np.searchsorted(self.keys[band], keys[large])
            low[large] = np.clip(middle - self.limit // 2, low[large], high[large] - self.limit)
            high[large] = low[large] + self.limit
        counts = high - low
        one, two = np.repeat(np.arange(len(keys)), counts), self.orders[band][minhash.spread(low, counts)].astype(np.int64)
        mine, yours = np.diff(signed.starts)[one], self.sizes[two]
        fits = np.minimum(mine, yours) >= self.threshold * np.maximum(mine, yours)
        return one[fits], two[fits]


def linked(index: Index) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, that join all texts of the index which are near-duplicates, and no pair more: single linkage."""
    groups = Groups(len(index.signed.normal))
    for one, two in _proposed(index):
        roots = groups.roots()
        apart = roots[one] != roots[two]
        found = index.verify(index.signed, one[apart], two[apart])
        yield from groups.join(found.one, found.two)


def _proposed(index: Index) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Candidates (i, j), i < j, some hundred thousand at a time; in each band first each text with its neighbour in the bucket.

    Most of a large family is one group after that, and its other pairs need not be verified.
    """
    import numpy as np

    for band in range(index.bands):
        order, keys = index.orders[band].astype(np.int64), index.keys[band] >> np.uint64(32)
        same = keys[1:] == keys[:-1]
        yield np.minimum(order[:-1], order[1:])[same], np.maximum(order[:-1], order[1:])[same]
        for start in range(0, len(order), ROWS):
            one, two = index.candidates(index.signed.slice(start, start + ROWS), band)
            later = one + start < two
            yield one[later] + start, two[later]


class Groups:
    """Union and find; the smallest member stands for its group."""

    def __init__(self, size: int) -> None:
        import numpy as np

        self.parents = np.arange(size)

    def roots(self) -> "np.ndarray":
        """The smallest member of each one's group."""
        import numpy as np

        while True:
            further = self.parents[self.parents]
            if np.array_equal(further, self.parents):
                return further
            self.parents = further

    def star(self, codes: "np.ndarray") -> None:
        """Join those that have the same number; 0 is none."""
        import numpy as np

        order = np.argsort(codes, kind="stable")
        same = (codes[order][1:] == codes[order][:-1]) & (codes[order][1:] != 0)
        for _ in self.join(order[:-1][same], order[1:][same]):
            pass

    def join(self, one: "np.ndarray", two: "np.ndarray") -> Iterator[tuple[int, int]]:
        """Join pairs; gives those that were not together before."""
        parents = self.parents
        for mine, yours in zip(one.tolist(), two.tolist(), strict=True):
            first, second = mine, yours
            while parents[first] != first:
                parents[first] = first = parents[parents[first]]
            while parents[second] != second:
                parents[second] = second = parents[parents[second]]
            if first != second:
                parents[max(first, second)] = min(first, second)
                yield mine, yours


def _rows(threshold: float) -> int:
    """Rows of a band: as many as MISSED allows, for the more there are, the fewer candidates are in vain."""
    for rows in (8, 6, 5, 4, 3, 2):
        if (1 - threshold**rows) ** (minhash.PERMUTATIONS // rows) <= MISSED:
            return rows
    return 1


def _keys(signatures: "np.ndarray", band: int, rows: int) -> "np.ndarray":
    """A band's hash in the upper 32 bits, and four rows more, 8 bits each, by which a bucket is in order."""
    import numpy as np

    key = np.zeros(len(signatures), np.uint64)
    for row in range(band * rows, (band + 1) * rows):
        key = minhash.mix(key ^ signatures[:, row])
    key = key >> np.uint64(32)
    for row in range((band + 1) * rows, (band + 1) * rows + 4):
        key = key << np.uint64(8) | signatures[:, row % minhash.PERMUTATIONS].astype(np.uint64) & np.uint64(255)
    return key
