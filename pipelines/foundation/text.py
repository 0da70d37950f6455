"""Texts compared as people would: normal form, words, templates, and near-duplicates (`neighbours` finds them)."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

WORD = re.compile(r"<[A-Z]+(?:_[A-Z]+)*>|\w+(?:['’]\w+)?")
NUMBERED = re.compile(r"<([A-Z]+(?:_[A-Z]+)*)_\d+>")
VALUE = re.compile(
    r"<[A-Z]+(?:_[A-Z]+)*(?:_\d+)?>"  # a typed placeholder
    r"|\[[^\[\]\n]{1,40}\]|\{\{?[^{}\n]{1,40}\}\}?|_{3,}"  # a blank
    r"|\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|«[^»\n]{1,200}»|(?<!\w)'[^'\n]{1,200}'(?!\w)"  # a quotation
    r"|[\w./:,#*+@€$£¥%-]*(?:\d|\*{2,}|\b[xX]{2,}\b)[\w./:,#*+@€$£¥%-]*"  # what holds a digit, or is masked
)
MARK = "<VALUE>"
FRAME = 3  # words besides the values, without which a text is no template


def normalise(text: str) -> str:
    """NFKC, case folded, punctuation and runs of space folded to one space."""
    return " ".join(words(text))


def words(text: str) -> list[str]:
    """The words of the normal form, in order; a typed placeholder such as <EMAIL> or <NAME_2> is one word, <email> or <name>."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "<" in text:
        text = NUMBERED.sub(r"<\1>", text)
    found = WORD.findall(text)
    return " ".join(found).casefold().split(" ") if found else []


def template(text: str) -> str:
    """The normal form with each run of values folded to one mark: what messages that a form or a macro wrote have in common.

    A value is a typed placeholder, a blank ([name], {{amount}}, ___), a quotation, or anything that holds a digit or is
    masked (XX/XX/2023, ****1234). As log parsers mask variables before they look for templates (He et al., "Drain", ICWS
    2017). A text of fewer than FRAME words besides its values is its own template.
    """
    found: list[str] = []
    for word in words(VALUE.sub(f" {MARK} ", unicodedata.normalize("NFKC", text))):
        if word != MARK.casefold() or found[-1:] != [word]:
            found.append(word)
    plain = sum(word != MARK.casefold() for word in found)
    return " ".join(found) if plain >= FRAME else normalise(text)


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

    Two texts that earlier pairs have joined already (single linkage) are not paired again. Deterministic; memory is some
    350 bytes a text. A pair at the threshold is missed once in 2,000, see `neighbours`.
    """
    import numpy as np

    from pipelines.foundation import minhash, neighbours

    signed = minhash.sign(texts)
    _, first, group = np.unique(signed.normal, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[group] != np.arange(len(texts)))
    yield from zip(first[group][again].tolist(), again.tolist(), strict=True)
    distinct = np.sort(first)
    for one, two in neighbours.linked(neighbours.Index(signed.take(distinct), threshold)):
        yield int(distinct[one]), int(distinct[two])
