"""Which rows were accepted before: under one id, and with one content, a row is accepted once; another is refused, not overwritten.

Reasons given here: duplicate_row (the same id and content), duplicate_id (the same id, other content), duplicate_content
(another id or none, all else the same: conversation, turn, subject, time, text, label, reply, attributes). Two rows without
ids, times and conversations that are rightly equal, say two customers who both wrote "thanks", are therefore kept once.

In memory a row is 16 bytes, two 64-bit fingerprints in sorted runs that are merged as they grow. A fingerprint that is
there already proves nothing: such rows wait, some ten thousand together, and are compared in one pass over the lake with
ids as they stand and 128-bit hashes of the content. A row that only shared a fingerprint is accepted then.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data.reading.rows import Refusal, refuse
from pipelines.foundation.lake import Lake

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CONTENT = ("conversation_id", "turn", "subject_id", "created_at", "text", "label", "reply", "attributes")
SAME = ("duplicate_row", "duplicate_content")  # reasons of rows that are nothing new: no defects of the data
WAITING = 100_000  # rows that are compared in one pass
CHARACTERS = 64 << 20  # of theirs
DUE_ROWS = "night <= '{night}' AND content IS {state}"


class _Place(NamedTuple):
    """Where an accepted row stands."""

    row_id: str
    content: str
    source: str
    line: int


class Known:
    """The rows of `traffic` up to a night, and what this run has accepted."""

    def __init__(self, lake: Lake, night: str) -> None:
        self.lake, self.night = lake, night
        self.reload()

    def reload(self) -> None:
        """Read the fingerprints again, after rows were removed."""
        self.ids, self.contents = _Runs(), _Runs()
        self.waiting: list[dict] = []
        self.size = 0
        for batch in self._stored(["row_id", "content"]):
            self.ids.add(_fingerprints(batch["row_id"].to_pylist()))
            self.contents.add(_fingerprints(batch["content"].to_pylist()))

    def admit(self, rows: list[dict]) -> list[dict]:
        """The rows that are new for certain, each with its `content`; the others wait for `settle`."""
        if not rows:
            return []
        for row in rows:
            row["content"] = digest(row)
        ids, contents = _fingerprints([row["row_id"] for row in rows]), _fingerprints([row["content"] for row in rows])
        old = (self.ids.hold(ids) | self.contents.hold(contents) | _repeats(ids) | _repeats(contents)).tolist()
        self.ids.add(ids[[not is_old for is_old in old]])
        self.contents.add(contents[[not is_old for is_old in old]])
        held = [row for row, is_old in zip(rows, old, strict=True) if is_old]
        self.waiting += held
        self.size += sum(len(row["text"]) + len(row["reply"] or "") + len(row["attributes"]) for row in held)
        return [row for row, is_old in zip(rows, old, strict=True) if not is_old] if held else rows

    @property
    def full(self) -> bool:
        """Whether so many rows wait that they have to be settled."""
        return len(self.waiting) >= WAITING or self.size >= CHARACTERS

    def settle(self) -> tuple[list[dict], list[Refusal]]:
        """(rows that are new after all, refusals) of those that wait; what `admit` gave must be in the lake before."""
        if not self.waiting:
            return [], []
        ids, contents = self._places()
        new, again = [], []
        for row in self.waiting:
            before = ids.get(row["row_id"]) or contents.get(row["content"])
            if before is None:
                new.append(row)
                ids[row["row_id"]] = contents[row["content"]] = _Place(row["row_id"], row["content"], row["source"], row["line"])
            else:
                again.append(_again(row, before))
        self.waiting, self.size = [], 0
        self.ids.add(_fingerprints([row["row_id"] for row in new]))
        self.contents.add(_fingerprints([row["content"] for row in new]))
        return new, again

    def _places(self) -> tuple[dict[str, _Place], dict[str, _Place]]:
        """Places of the rows in the lake that have an id, or a content, of one that waits."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = {name: pa.array({row[name] for row in self.waiting}, pa.string()) for name in ("row_id", "content")}
        found = []
        for batch in self._stored(list(_Place._fields)):
            hits = pc.or_(*(pc.is_in(batch[name], value_set=values) for name, values in wanted.items()))
            found += [_Place(**row) for row in batch.filter(hits).to_pylist()]
        return {place.row_id: place for place in found}, {place.content: place for place in found}

    def _stored(self, columns: list[str]) -> "Iterator[pa.Table]":
        """Rows of the lake, some thousand at a time; the content of one that an earlier release wrote is hashed now."""
        import pyarrow as pa

        version = self.lake.version("traffic")
        for batch in self.lake.scan("traffic", version, columns, DUE_ROWS.format(night=self.night, state="NOT NULL")):
            yield pa.Table.from_batches([batch])
        plain = [name for name in columns if name != "content"]
        for batch in self.lake.scan("traffic", version, [*plain, *CONTENT], DUE_ROWS.format(night=self.night, state="NULL")):
            rows = batch.to_pylist()
            for row in rows:
                row["attributes"] = json.dumps(json.loads(row["attributes"] or "{}"), ensure_ascii=False, sort_keys=True)
                row["content"] = digest(row)
            yield pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows])


class _Runs:
    """A growing set of 64-bit numbers: sorted arrays, each more than twice as long as the next."""

    def __init__(self) -> None:
        self.runs: list[np.ndarray] = []

    def add(self, values: "np.ndarray") -> None:
        import numpy as np

        run = np.sort(values)
        while self.runs and len(self.runs[-1]) <= 2 * len(run):
            run = np.concatenate([self.runs.pop(), run])
            run.sort(kind="stable")  # two sorted halves: linear
        self.runs.append(run)

    def hold(self, values: "np.ndarray") -> "np.ndarray":
        """Whether each value is in the set."""
        import numpy as np

        order = np.argsort(values)
        ordered, found = values[order], np.zeros(len(values), bool)
        for run in self.runs:
            if len(run):
                found |= run[np.minimum(np.searchsorted(run, ordered), len(run) - 1)] == ordered
        result = np.empty_like(found)
        result[order] = found
        return result


def digest(row: dict) -> str:
    """What a row says, whatever its id and place: BLAKE2b, 128 bits, as 32 hex digits."""
    at = row["created_at"]
    said = (row["conversation_id"], row["turn"], row["subject_id"], at and at.timestamp())
    said += (row["text"], row["label"], row["reply"], row["attributes"])
    return hashlib.blake2b(repr(said).encode(), digest_size=16).hexdigest()


def _fingerprints(values: list[str]) -> "np.ndarray":
    """Python's own 64-bit hashes, which hold for this process alone."""
    import numpy as np

    return np.fromiter(map(hash, values), np.int64, len(values))


def _repeats(values: "np.ndarray") -> "np.ndarray":
    """Whether each value has come before in the same array."""
    import numpy as np

    again = np.ones(len(values), bool)
    again[np.unique(values, return_index=True)[1]] = False
    return again


def _again(row: dict, before: _Place) -> Refusal:
    """The refusal of a row that is there already."""
    if before.row_id != row["row_id"]:
        reason, what = "duplicate_content", "the same but for the id"
    elif before.content == row["content"]:
        reason, what = "duplicate_row", "the same row"
    else:
        reason, what = "duplicate_id", "another row with this id"
    raw = json.dumps({name: row[name] for name in ("row_id", *CONTENT)}, default=str, ensure_ascii=False)
    return refuse(row["line"], reason, f"{row['row_id'][:100]!r}: {what} is in {before.source}, line {before.line}", raw)
