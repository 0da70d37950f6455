"""Texts as numbers: hashes of their words, shingles and MinHash signatures, in numpy and in blocks.

Broder 1997 (MinHash, here over word 2-shingles). A text of ten words takes some 15 microseconds and 350 bytes. A shingle is
44 bits of a hash: two that differ are taken for the same once in 10**13 comparisons. `neighbours` finds what is alike.
"""

import hashlib
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import text

if TYPE_CHECKING:
    import numpy as np

PERMUTATIONS = 64
BITS = 44  # of a shingle: a place in a block (20 bits) and a shingle fit into 64 bits
BLOCK = 8192  # texts, so that what is worked on stays in the processor's cache
PAIRS = 1 << 16  # verified at a time


class Vocabulary(dict[str, int]):
    """64-bit hashes of words, the same in every process; it forgets them all when there are too many."""

    def __missing__(self, word: str) -> int:
        if len(self) > 2_000_000:
            self.clear()
        self[word] = found = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")
        return found


class Signed(NamedTuple):
    """Texts as numbers."""

    normal: "np.ndarray"  # uint64 [n]: equal for texts of the same normal form; 0: no word
    starts: "np.ndarray"  # int64 [n + 1]: where each text's shingles begin
    shingles: "np.ndarray"  # uint64: sorted and distinct within a text
    signatures: "np.ndarray"  # uint32 [n, PERMUTATIONS]

    @property
    def worded(self) -> "np.ndarray":
        """Whether a text holds a word at all, bool [n]."""
        return self.normal != 0

    def slice(self, start: int, stop: int) -> "Signed":
        """The texts from `start` to `stop`, nothing copied."""
        return Signed(self.normal[start:stop], self.starts[start : stop + 1], self.shingles, self.signatures[start:stop])

    def take(self, places: "np.ndarray") -> "Signed":
        """Some of the texts, in the order of `places`."""
        import numpy as np

        sizes = np.diff(self.starts)[places]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        return Signed(self.normal[places], starts, self.shingles[spread(self.starts[:-1][places], sizes)], self.signatures[places])


def sign(texts: Sequence[str], vocabulary: Vocabulary | None = None) -> Signed:
    """Hash texts; the vocabulary of an earlier call saves time."""
    import numpy as np

    known = Vocabulary() if vocabulary is None else vocabulary
    blocks = [_sign([text.words(found) for found in texts[at : at + BLOCK]], known) for at in range(0, max(len(texts), 1), BLOCK)]
    return join(blocks) if len(blocks) > 1 else Signed(*(np.asarray(part) for part in blocks[0]))


def join(blocks: Sequence[Signed]) -> Signed:
    """One after the other."""
    import numpy as np

    ends = np.cumsum([0, *(block.starts[-1] for block in blocks)])
    starts = np.concatenate([block.starts[:-1] + end for block, end in zip(blocks, ends, strict=False)] + [ends[-1:]])
    return Signed(*(np.concatenate([block[part] for block in blocks]) if part != 1 else starts for part in range(4)))


def jaccards(left: Signed, one: "np.ndarray", right: Signed, two: "np.ndarray") -> "np.ndarray":
    """Similarity of left[one[k]] and right[two[k]] for each k, float64."""
    import numpy as np

    out = np.empty(len(one))
    for at in range(0, len(one), PAIRS):
        mine, yours = one[at : at + PAIRS], two[at : at + PAIRS]
        sizes = np.diff(left.starts)[mine], np.diff(right.starts)[yours]
        pair = np.arange(len(mine), dtype=np.uint64) << np.uint64(BITS)
        keys = [
            side.shingles[spread(side.starts[:-1][places], size)] | np.repeat(pair, size)
            for side, places, size in zip((left, right), (mine, yours), sizes, strict=True)
        ]
        both = np.sort(np.concatenate(keys))  # the same shingle twice within a pair: once on either side
        common = np.bincount((both[1:][both[1:] == both[:-1]] >> np.uint64(BITS)).astype(np.int64), minlength=len(mine))
        out[at : at + PAIRS] = common / (sizes[0] + sizes[1] - common)
    return out


def _sign(found: Sequence[list[str]], known: Vocabulary) -> Signed:
    """One block."""
    import numpy as np

    counts = np.fromiter(map(len, found), np.int64, len(found))
    hashes = np.fromiter(map(known.__getitem__, chain.from_iterable(found)), np.uint64, int(counts.sum()))
    ends = np.cumsum(counts)
    row = np.repeat(np.arange(len(found)), counts)
    place = np.arange(len(hashes)) - (ends - counts)[row]
    normal = np.zeros(len(found), np.uint64)
    np.add.at(normal, row, mix(hashes ^ mix(place.astype(np.uint64))))
    pairs = place[1:] > 0
    short = counts < 2  # none or one word: that is the shingle
    alone = np.zeros(short.sum(), np.uint64)
    alone[counts[short] == 1] = hashes[(ends - counts)[short & (counts == 1)]]
    shingles = np.concatenate([mix(hashes[:-1] * np.uint64(0x9E3779B97F4A7C15) + hashes[1:])[pairs], mix(alone + np.uint64(1))])
    owner = np.concatenate([row[1:][pairs], np.flatnonzero(short)]).astype(np.uint64)
    keys = distinct(owner << np.uint64(BITS) | shingles >> np.uint64(64 - BITS))
    shingles = keys & np.uint64((1 << BITS) - 1)
    starts = np.searchsorted(keys >> np.uint64(BITS), np.arange(len(found) + 1, dtype=np.uint64))
    return Signed(normal, starts, shingles, _signatures(shingles, starts))


def _signatures(shingles: "np.ndarray", starts: "np.ndarray") -> "np.ndarray":
    """The smallest of each text's shingles under each hash h(x) = (a x + b mod 2**64) >> 32 (Dietzfelbinger 1997)."""
    import numpy as np

    draw = np.random.default_rng(20)
    a = draw.integers(0, 1 << 63, PERMUTATIONS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    b = draw.integers(0, 1 << 63, PERMUTATIONS, dtype=np.uint64)
    out = np.empty((PERMUTATIONS, len(starts) - 1), np.uint32)
    if len(shingles):
        for at in range(PERMUTATIONS):
            np.minimum.reduceat(((shingles * a[at] + b[at]) >> np.uint64(32)).astype(np.uint32), starts[:-1], out=out[at])
    return np.ascontiguousarray(out.T)


def mix(x: "np.ndarray") -> "np.ndarray":
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input moves every bit of the output."""
    import numpy as np

    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def distinct(keys: "np.ndarray") -> "np.ndarray":
    """The keys in order, each once; np.unique takes three times as long."""
    import numpy as np

    keys = np.sort(keys)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys


def spread(starts: "np.ndarray", sizes: "np.ndarray") -> "np.ndarray":
    """starts[0], starts[0] + 1, ... (sizes[0] of them), starts[1], ..."""
    import numpy as np

    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - sizes), sizes)
