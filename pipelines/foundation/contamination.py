"""What a model is trained on must not stand in what it is judged on: train rows against sealed rows and against the files
of `split.off_limits`, whose texts may never be trained on (a public test set, another team's sealed rows).

Two texts are the same `exact` (but for letter case and the space around them), `normalised` (the same words), or `near`
(Jaccard similarity from `split.near_duplicate` on, see `neighbours`). An off-limits text also counts where it is one turn of
a prompt. What may stand on both sides, and why the night goes on then, is told at `check` and `find_crossings`.
"""

import hashlib
import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipelines.errors import NightStopped
from pipelines.foundation import minhash, neighbours, offlimits
from pipelines.foundation.offlimits import Barred
from pipelines.foundation.step import Night

BATCH = 8192
TURN = re.compile(r"(?:^|\n)(Customer|Agent): ")  # what a prompt with its conversation is made of
NAMED = 10  # pairs in a message
KINDS = ("near", "normalised", "exact")
log = logging.getLogger("pipelines.contamination")


class Match(NamedTuple):
    """One text of a batch that matches; the strongest of its matches."""

    place: int  # in the batch
    where: str
    night: str
    kind: str
    similarity: float


class Wall:
    """Barred texts, to be found again in others. About 700 bytes a text."""

    def __init__(self, barred: Iterable[Barred], threshold: float) -> None:
        self.names: list[tuple[str, str]] = []
        self.exact: dict[int, int] = {}
        self.normal: dict[int, int] = {}
        self.vocabulary, blocks = minhash.Vocabulary(), []
        source = iter(barred)
        while batch := list(itertools.islice(source, BATCH)):
            signed = minhash.sign([row.text for row in batch], self.vocabulary)
            for row, normal in zip(batch, signed.normal.tolist(), strict=True):
                self.exact.setdefault(_plain(row.text), len(self.names))
                self.normal.setdefault(normal, len(self.names))
                self.names.append((row.where, row.night))
            blocks.append(signed)
        self.normal.pop(0, None)  # texts without a word
        self.index = neighbours.Index(minhash.join(blocks), threshold) if blocks else None

    def find(self, texts: Sequence[str]) -> list[Match]:
        """The texts that match, in order; of several barred ones the most similar, of equals the first."""
        if self.index is None or not texts:
            return []
        signed = minhash.sign(texts, self.vocabulary)
        found: dict[int, tuple[int, float, int]] = {}  # by place: kind, similarity, barred text
        near = self.index.find(signed)
        for place, barred, similarity in zip(near.one.tolist(), near.two.tolist(), near.similarity.tolist(), strict=True):
            found[place] = max(found.get(place, (0, 0.0, 0)), (0, similarity, -barred))
        for place, (text, normal) in enumerate(zip(texts, signed.normal.tolist(), strict=True)):
            if (barred := self.normal.get(normal)) is not None:
                found[place] = (1, 1.0, -barred)
            if (barred := self.exact.get(_plain(text))) is not None:
                found[place] = (2, 1.0, -barred)
        return [Match(place, *self.names[-barred], KINDS[kind], similarity) for place, (kind, similarity, barred) in sorted(found.items())]


def pieces(prompts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each prompt and what the customer says in each of its turns, and which prompt that is. Replies are nobody's message."""
    texts, owners = [], []
    for place, prompt in enumerate(prompts):
        before, *turns = TURN.split(prompt)
        said = [before, *(turn for who, turn in zip(turns[::2], turns[1::2], strict=True) if who == "Customer")]
        for piece in dict.fromkeys([prompt, *(turn for turn in said if turn.strip())]):
            texts.append(piece)
            owners.append(place)
    return texts, owners


def find_crossings(night: Night, version: int) -> Iterator[tuple[str, str, Match]]:
    """(example_id, night, match) of every stored train row, of all nights up to this one, that matches a sealed one."""
    known = f"night <= '{night.night}'"
    wall = Wall(_sealed(night, version), night.usecase.split.near_duplicate)
    for batch in night.lake.scan("examples", version, ["example_id", "night", "prompt"], f"{known} AND split = 'train'"):
        ids, nights, prompts = (batch.column(name).to_pylist() for name in ("example_id", "night", "prompt"))
        for match in wall.find(prompts):
            yield ids[match.place], nights[match.place], match


def check(night: Night, rows: list[dict]) -> list[dict]:
    """The rows that may be trained on, of those that are about to be; raises NightStopped naming the pairs that must not be.

    Left out with a warning, for nobody did wrong: a row of an earlier night that matches an off-limits text (the file came
    later: `split` refuses matching rows of its own night); a row and a sealed row of earlier nights that are near to each
    other (they were let in at a higher threshold); a synthetic row of an earlier night that a sealed row came to match.
    Everything else stops the night: the same text on both sides, or tonight's row near to what it must not be near to.
    """
    version, threshold = night.before("split")["examples"], night.usecase.split.near_duplicate
    sealed, barred = Wall(_sealed(night, version), threshold), Wall(offlimits.read(night), threshold)
    held: dict[int, str] = {}
    wrong: list[str] = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        prompts = [row["prompt"] for row in batch]
        texts, owners = pieces(prompts)
        found = [(match.place, match) for match in sealed.find(prompts)] + [(owners[match.place], match) for match in barred.find(texts)]
        for place, match in found:
            row = batch[place]
            earlier = row["night"] < night.night
            later = row["source"] == "synthetic" or not match.night or (match.kind == "near" and match.night < night.night)
            if earlier and later:
                held[start + place] = f"{row['example_id']} matches {match.where} ({match.kind})"
            else:
                wrong.append(tell(row["example_id"], match))
    if wrong:
        raise NightStopped(f"finetune: {_list(wrong)} must not be trained on; nothing was trained")
    for told in held.values():
        log.warning("the row %s: it is not trained on", told)
    return [row for place, row in enumerate(rows) if place not in held]


def tell(example_id: str, match: Match) -> str:
    """A pair for people; never a text."""
    return f"{example_id} with {match.where} ({match.kind}, {match.similarity:.2f})"


def stop(wrong: list[str]) -> None:
    """Raises NightStopped where train rows stand on the sealed side as well."""
    if wrong:
        raise NightStopped(f"split: {_list(wrong)}: train rows that match sealed rows; nothing may be trained or judged on these")


def _list(wrong: list[str]) -> str:
    more = f" and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
    return f"{len(wrong):,} {'pairs' if len(wrong) > 1 else 'pair'}: {', '.join(wrong[:NAMED])}{more}"


def _sealed(night: Night, version: int) -> Iterator[Barred]:
    where = f"night <= '{night.night}' AND split = 'test'"
    for batch in night.lake.scan("examples", version, ["example_id", "night", "prompt"], where):
        yield from map(Barred, *(batch.column(name).to_pylist() for name in ("example_id", "night", "prompt")))


def _plain(text: str) -> int:
    """A hash of the text but for letter case and the space around it."""
    return int.from_bytes(hashlib.blake2b(text.strip().lower().encode("utf-8", "replace"), digest_size=8).digest(), "little")
