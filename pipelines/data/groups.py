"""Which of tonight's drafts belong together, and to which rows of other nights: by their keys, their words, near-duplicates.

With `split.semantic` also by their sentence vectors, among rows of one label. That takes time with the square of a label's
rows, and single linkage makes chains of them: on the 10,003 rows of Banking77 a cosine of 0.95 makes 1,031 merges, of whose
pairs 97 % have one label, and the largest group has 11 rows; at 0.90 it has 66, and at 0.86 117, a whole intent.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data import drafts
from pipelines.foundation import minhash, neighbours, vectors
from pipelines.foundation.step import Night

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Merged(NamedTuple):
    """Drafts in groups."""

    roots: "np.ndarray"  # int64 [n]: the first draft of each one's group
    taken: dict[int, dict[str, str]]  # by root: side to the smallest group id of the rows of other nights that belong to it


class Links(NamedTuple):
    """Rows of other nights that belong to drafts, of one batch of them."""

    batch: "pa.RecordBatch"
    old: "np.ndarray"  # int64: places in the batch
    drafted: "np.ndarray"  # int64: the draft that each belongs to


class _Tonight(NamedTuple):
    """What rows of other nights are looked up in."""

    index: neighbours.Index | None  # of the distinct prompts
    distinct: "np.ndarray"  # int64: a draft for each of these
    named: dict[str, int]  # a draft for each group id
    keyed: dict[str, dict[str, int]]  # by kind, a draft for each key
    meaning: "_Meaning | None"  # where `split.semantic` is set


class _Meaning:
    """Sentence vectors of tonight's drafts by label, 2.3 KB a draft."""

    def __init__(self, found: drafts.Drafts, least: float) -> None:
        import numpy as np

        self.least, self.embedder = least, vectors.Embedder()
        self.places = _by_label(found.rows.column("label").take(found.places).to_pylist())
        prompts = found.table.column("prompt")
        self.vectors = {label: self.embedder.embed(prompts.take(np.array(places)).to_pylist()) for label, places in self.places.items()}

    def within(self) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
        """Pairs of drafts."""
        for label, found in self.vectors.items():
            for one, two in vectors.alike(found, found, self.least):
                places, later = self.places[label], one < two
                yield places[one[later]], places[two[later]]

    def find(self, prompts: list[str], labels: list[str | None]) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
        """Pairs of a place in these, and a draft."""
        for label, places in _by_label(labels).items():
            if label in self.vectors:
                asked = self.embedder.embed([prompts[place] for place in places])
                for one, two in vectors.alike(asked, self.vectors[label], self.least):
                    yield places[one], self.places[label][two]


def merge(night: Night, found: drafts.Drafts, examples: int | None) -> Merged:
    """Join drafts that share a key, or are near-duplicates, with one another and with rows of other nights (single linkage)."""
    import numpy as np

    joined = neighbours.Groups(len(found.places))
    for column in (found.table.column("group_id"), *found.keys.values()):
        joined.star(_codes(column))
    signed = _sign(found.table.column("prompt"))
    joined.star(signed.normal)
    distinct = np.sort(np.unique(signed.normal, return_index=True)[1])
    index = neighbours.Index(signed.take(distinct), night.usecase.split.near_duplicate) if len(distinct) else None
    pairs = list(neighbours.linked(index)) if index else []
    one, two = (distinct[list(side)] for side in zip(*pairs, strict=True)) if pairs else (distinct[:0], distinct[:0])
    for _ in joined.join(one, two):
        pass
    meaning = _Meaning(found, night.usecase.split.semantic) if night.usecase.split.semantic and index else None
    for one, two in meaning.within() if meaning else ():
        for _ in joined.join(one, two):
            pass
    keyed = {kind: _first(column) for kind, column in found.keys.items()}
    tonight = _Tonight(index, distinct, _first(found.table.column("group_id")), keyed, meaning)
    roots = joined.roots()
    return Merged(roots, _take(_links(night, tonight, examples), roots))


def _links(night: Night, tonight: _Tonight, examples: int | None) -> Iterator[Links]:
    """Rows of other nights that belong to drafts."""
    import numpy as np

    if tonight.index is None:
        return
    vocabulary = minhash.Vocabulary()
    owners = _owners(night, tonight)
    normal = tonight.index.signed.normal
    order = np.argsort(normal)
    columns = ["group_id", "prompt", "split", "rows", "label"]  # of later nights too: a night may be run again, or filled in
    for batch in night.lake.scan("examples", examples, columns, f"night <> '{night.night}'"):
        prompts = batch.column("prompt").to_pylist()
        signed = minhash.sign(prompts, vocabulary)
        near = tonight.index.find(signed)
        at = np.minimum(np.searchsorted(normal, signed.normal, sorter=order), len(order) - 1)
        same = np.flatnonzero(normal[order[at]] == signed.normal)
        pairs = [(place, tonight.named[name]) for place, name in enumerate(batch.column("group_id").to_pylist()) if name in tonight.named]
        for place, made_of in enumerate(batch.column("rows").to_pylist() if owners else ()):
            pairs += [(place, own) for own in owners.get(json.loads(made_of)[-1], ())] if made_of else []
        places, others = np.array(pairs, np.int64).reshape(-1, 2).T
        meant = list(tonight.meaning.find(prompts, batch.column("label").to_pylist())) if tonight.meaning else []
        old = np.concatenate([near.one, same, places, *(one for one, _ in meant)])
        drafted = [tonight.distinct[near.two], tonight.distinct[order[at[same]]], others, *(two for _, two in meant)]
        yield Links(batch, old, np.concatenate(drafted))


def _owners(night: Night, tonight: _Tonight) -> dict[str, list[int]]:
    """By row id, of rows of other nights that share a key with a draft: those drafts."""
    found: dict[str, list[int]] = {}
    if not tonight.keyed:
        return found
    columns = list(dict.fromkeys(["row_id", *(drafts.KEYS[kind] for kind in tonight.keyed)]))
    for batch in night.lake.scan("clean", night.lake.version("clean"), columns, f"night <> '{night.night}'"):
        ids = batch.column("row_id").to_pylist()
        for kind, keyed in tonight.keyed.items():
            for row_id, value in zip(ids, batch.column(drafts.KEYS[kind]).to_pylist(), strict=True):
                if (own := keyed.get(drafts.key(kind, value) or "")) is not None:
                    found.setdefault(row_id, []).append(own)
    return found


def _take(links: Iterator[Links], roots: "np.ndarray") -> dict[int, dict[str, str]]:
    """By root and side the smallest group id that is there already."""
    import numpy as np

    taken: dict[int, dict[str, str]] = {}
    for batch, old, drafted in links:
        if not len(old):
            continue
        names, codes = np.unique(batch.column("group_id").to_pylist(), return_inverse=True)
        sides, side = np.unique(batch.column("split").to_pylist(), return_inverse=True)
        by = roots[drafted] * len(sides) + side[old]
        order = np.lexsort((codes[old], by))
        first = order[np.concatenate([[True], np.diff(by[order]) > 0])]
        for root, code, where in zip(roots[drafted[first]].tolist(), codes[old[first]].tolist(), side[old[first]].tolist(), strict=True):
            mine, name = taken.setdefault(root, {}), str(names[code])
            mine[str(sides[where])] = min(name, mine.get(str(sides[where]), name))
    return taken


def _by_label(labels: list[str | None]) -> "dict[str | None, np.ndarray]":
    """The places of each label."""
    import numpy as np

    found: dict[str | None, list[int]] = {}
    for place, label in enumerate(labels):
        found.setdefault(label, []).append(place)
    return {label: np.array(places) for label, places in found.items()}


def _sign(prompts: "pa.ChunkedArray") -> minhash.Signed:
    vocabulary = minhash.Vocabulary()
    blocks = [minhash.sign(prompts.slice(at, drafts.BATCH).to_pylist(), vocabulary) for at in range(0, len(prompts), drafts.BATCH)]
    return minhash.join(blocks or [minhash.sign([])])


def _codes(column: "pa.ChunkedArray") -> "np.ndarray":
    """Equal numbers for equal values, from 1; 0 for null."""
    import numpy as np
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(column).combine_chunks()
    indices = encoded.chunk(0).indices if hasattr(encoded, "chunks") and encoded.num_chunks else getattr(encoded, "indices", None)
    return np.zeros(0, np.int64) if indices is None else pc.fill_null(pc.add(indices, 1), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _first(column: "pa.ChunkedArray") -> dict[str, int]:
    """The first place of each value; null has none."""
    found: dict[str, int] = {}
    for place, value in enumerate(column.to_pylist()):
        if value is not None:
            found.setdefault(value, place)
    return found
