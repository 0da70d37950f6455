"""Rows of a training file that stand in a test file: `python -m pipelines leaks --train train.csv --test test.csv --json`.

The counts are of test rows for which there is such a train row, each kind holding the one before: `exact` (the same but for
letter case and the space around it), `normalised` (the same words in the same order: punctuation, spaces, width of letters
and numbers of placeholders aside), `near` (Jaccard similarity of word pairs of at least 0.8, the default of
`split.near_duplicate`). Each leaked row is in `pairs` once, by its strongest kind, with the first train row of that kind, or
the most similar one. Memory grows with the test file only; a pair just at 0.8 is missed once in 2,000
(`foundation.neighbours`).

The text is the column `text`, else `prompt`, else the only one of COLUMNS, else the only one that mostly holds several
words. Rows that cannot be read, or hold no text, are counted by reason.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pipelines.data.reading import readers
from pipelines.data.reading.rows import Refusal, Row
from pipelines.errors import UserError
from pipelines.foundation import minhash, neighbours
from pipelines.sections import Split

KINDS = ("near", "normalised", "exact")  # by strength
COLUMNS = ("utterance", "message", "question", "query", "sentence", "content", "dialogue")
SAMPLE = 200  # rows that are looked at to find the column
SEVERAL = 3  # words
MAX_BYTES = 1_000_000  # of a cell
BATCH = 16_384  # train rows at a time
SHOWN = 20  # pairs, to people


class _Text(NamedTuple):
    """One row's text and where it begins."""

    line: int
    text: str


class _File:
    """A file as a stream of texts; what was read and refused is counted as it passes."""

    def __init__(self, path: str) -> None:
        self.path, self.column, self.read = path, "", 0
        self.refused: Counter[str] = Counter()

    def texts(self) -> Iterator[_Text]:
        """The rows that hold a text; raises UserError where the file or the column is not to be found."""
        if not Path(self.path).is_file():
            raise UserError(f"there is no file {self.path}: leaks takes CSV, JSON lines or Parquet files, also gzipped")
        with readers.opened(Path(self.path), self.path, (), MAX_BYTES) as opened:
            rows = iter(opened.rows)
            first = list(itertools.islice(rows, SAMPLE))
            if refused := next((row for row in first if isinstance(row, Refusal) and row.line == 0), None):
                raise UserError(f"{self.path}: {refused.reason}: {refused.detail}")
            self.column = _column(self.path, [row.columns for row in first if isinstance(row, Row)])
            for row in itertools.chain(first, rows):
                self.read += 1
                value = row.columns.get(self.column) if isinstance(row, Row) else None
                if isinstance(row, Refusal):
                    self.refused[row.reason] += 1
                elif value is None or value == "" or (isinstance(value, str) and not value.strip()):
                    self.refused["text_missing"] += 1
                elif not isinstance(value, str):
                    self.refused["not_a_text"] += 1
                else:
                    yield _Text(row.line, value)


class _Best:
    """For each test row the strongest pair so far."""

    def __init__(self, size: int) -> None:
        import numpy as np

        self.score = np.zeros(size)  # kind and similarity: 1 + similarity near, 3 normalised, 4 exact
        self.train: list[_Text | None] = [None] * size

    def take(self, kind: int, pairs: neighbours.Pairs, train: list[_Text]) -> None:
        """Take (train place, test place) pairs in the order of the train rows."""
        score = pairs.similarity + 1 if kind == 0 else pairs.similarity * 0 + kind + 2
        for at in (score > self.score[pairs.two]).nonzero()[0].tolist():
            two = pairs.two[at]
            if score[at] > self.score[two]:
                self.score[two], self.train[two] = score[at], train[pairs.one[at]]

    def kind(self, place: int) -> str:
        """The word for a test row's pair."""
        return KINDS[max(int(self.score[place]) - 2, 0)]

    def similarity(self, place: int) -> float:
        """Of a near pair from the threshold to 1; else 1."""
        return round(min(self.score[place] - 1, 1.0), 4)


def find_leaks(train: str, test: str) -> dict:
    """Counts over test rows, rows read and refused, and a pair for each leaked test row.

    A pair is {"kind", "train_line", "test_line", "similarity", "train", "test"}. Raises UserError for a file that cannot be
    read, or has no column of texts.
    """
    threshold = Split().near_duplicate
    files, sealed = [_File(train), _File(test)], []
    sealed.extend(files[1].texts())
    best = _compare(files[0].texts(), sealed, threshold)
    pairs = [
        {"kind": best.kind(place), "train_line": found.line, "test_line": sealed[place].line, "similarity": best.similarity(place)}
        | {"train": found.text, "test": sealed[place].text}
        for place, found in enumerate(best.train)
        if found is not None
    ]
    counts = Counter(pair["kind"] for pair in pairs)
    about = {
        f"{name}_{what}": value
        for name, file in zip(("train", "test"), files, strict=True)
        for what, value in (("rows", file.read), ("refused", dict(sorted(file.refused.items()))), ("column", file.column))
    }
    held = {kind: sum(counts[stronger] for stronger in KINDS[place:]) for place, kind in enumerate(KINDS)}
    return {kind: held[kind] for kind in reversed(KINDS)} | {"threshold": threshold} | about | {"pairs": pairs}


def render(found: dict) -> str:
    """For people: the counts, what was not read, and the first pairs."""
    counted = "each kind holds the one before"
    told = [f"{found['test_rows']:,} test rows against {found['train_rows']:,} train rows ({counted})"]
    near = f"similarity from {found['threshold']}"
    meant = {"exact": "but for letter case", "normalised": "but for punctuation and spaces", "near": near}
    told += [f"{kind:<12}{found[kind]:>9,}   {meaning}" for kind, meaning in meant.items()]
    for name in ("train", "test"):
        told += [f"{name}: {count:,} rows refused, {reason}" for reason, count in found[f"{name}_refused"].items()]
    for pair in found["pairs"][:SHOWN]:
        told.append(f"{pair['kind']} {pair['similarity']:.2f}: test line {pair['test_line']}, train line {pair['train_line']}")
        told += [f"    {name:<6}{' '.join(pair[name].split())[:120]}" for name in ("test", "train")]
    left = len(found["pairs"]) - SHOWN
    return "\n".join(told + ([f"... and {left:,} more, with --json"] if left > 0 else []))


def _compare(train: Iterable[_Text], sealed: list[_Text], threshold: float) -> _Best:
    """Stream the train rows past an index of the test rows."""
    import numpy as np

    vocabulary = minhash.Vocabulary()
    index = neighbours.Index(minhash.sign([row.text for row in sealed], vocabulary), threshold)
    exact = _places(_plain(row.text) for row in sealed)
    normal = _places(index.signed.normal[index.signed.worded].tolist(), np.flatnonzero(index.signed.worded).tolist())
    best, stream = _Best(len(sealed)), iter(train)
    while batch := list(itertools.islice(stream, BATCH)):
        signed = minhash.sign([row.text for row in batch], vocabulary)
        best.take(2, _same((_plain(row.text) for row in batch), exact), batch)
        best.take(1, _same(signed.normal.tolist(), normal), batch)
        best.take(0, index.find(signed, best.score < 3), batch)
    return best


def _plain(text: str) -> str:
    return text.strip().lower()


def _places(keys: Iterable[object], places: Iterable[int] | None = None) -> dict[object, list[int]]:
    """The places of each key."""
    found: dict[object, list[int]] = {}
    for place, key in zip(itertools.count() if places is None else places, keys, strict=False):
        found.setdefault(key, []).append(place)
    return found


def _same(keys: Iterable[object], places: dict[object, list[int]]) -> neighbours.Pairs:
    """Pairs of equal keys."""
    import numpy as np

    pairs = [(one, two) for one, key in enumerate(keys) if key in places for two in places[key]]
    one, two = np.array(pairs, np.int64).reshape(-1, 2).T
    return neighbours.Pairs(one, two, np.ones(len(pairs)))


def _column(path: str, rows: list[dict]) -> str:
    """The column that holds the texts; raises UserError naming the columns that there are."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if found := next((name for name in ("text", "prompt") if name in names), None):
        return found
    usual = [name for name in COLUMNS if name in names]
    wordy = [name for name in names if _wordy([row.get(name) for row in rows])]
    for only in (usual, wordy, names):
        if len(only) == 1:
            return only[0]
    raise UserError(
        f"{path}: there is no column text or prompt, and no other is plainly the text; the columns found are "
        f"{', '.join(map(repr, names[:40])) or 'none'}: rename the one that holds the texts to text"
    )


def _wordy(values: list[object]) -> bool:
    """Mostly texts of several words, and most of them different."""
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    return bool(texts) and median(len(value.split()) for value in texts) >= SEVERAL and len(set(texts)) > len(texts) / 2
