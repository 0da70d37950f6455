"""Rows of a night become drafts of examples: what the model reads, what it is made of, and what it is grouped by.

Columns, not dicts: of a million rows only a batch at a time is Python objects.
"""

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import contamination, protected, text
from pipelines.foundation.step import Night
from pipelines.sections import Split, UseCase

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH = 8192
KEYS = {"conversation": "conversation_id", "subject": "subject_id", "template": "text"}  # the column that a key is made of


class Drafts(NamedTuple):
    """Examples without a side, n of them."""

    rows: "pa.Table"  # of `clean`, in the order in which conversations are read
    places: "np.ndarray"  # int64 [n]: of the draft's own row in `rows`
    table: "pa.Table"  # example_id, group_id, prompt, rows (JSON array of row ids)
    keys: "dict[str, pa.ChunkedArray]"  # by kind of `group_by`: string [n], null where a row has no such key
    duplicates: int  # rows that were examples already, or twice


def read(night: Night, version: int) -> "pa.Table":
    """The night's rows of `clean`, conversation by conversation."""
    import pyarrow.compute as pc

    rows = night.lake.read("clean", version, where=f"night = '{night.night}'")
    turn = pc.fill_null(rows.column("turn"), 1)
    by = rows.select(["file", "line"]).append_column("turn", pc.if_else(pc.equal(turn, 0), 1, turn))
    by = by.append_column("conversation", pc.fill_null(rows.column("conversation_id"), ""))
    return rows.take(pc.sort_indices(by, [(name, "ascending") for name in ("conversation", "turn", "file", "line")]))


def bar(rows: "pa.Table", guard: protected.Guard, off_limits: contamination.Wall, refused: list[dict]) -> "pa.Table":
    """The rows without those that match the safety set or an off-limits file."""
    import numpy as np

    if not guard.entries and off_limits.index is None:
        return rows
    bad: dict[int, tuple[str, str]] = {}
    for start in range(0, len(rows), BATCH):
        texts = rows.column("text").slice(start, BATCH).to_pylist()
        said, owners = contamination.pieces(texts)
        for match in off_limits.find(said):
            bad[start + owners[match.place]] = "off_limits", _told(match)
        for place, found in enumerate(texts, start):
            if (entry := guard.find(found)) is not None:
                bad[place] = "safety_set", f"matches {protected.told(entry)}, which may never be trained on"
    refused += [refuse(row, *why) for row, why in zip(rows.take(list(bad)).to_pylist() if bad else [], bad.values(), strict=True)]
    return rows.take(np.setdiff1d(np.arange(len(rows)), list(bad)))


def draft(usecase: UseCase, rows: "pa.Table", known: set[str], off_limits: contamination.Wall, refused: list[dict]) -> Drafts:
    """Examples without a side; `known` example ids are not made again, nor is a conversation that is off limits as a whole."""
    import numpy as np
    import pyarrow as pa

    split, places, tables, duplicates, seen = usecase.split, [], [], 0, set(known)
    kinds = [kind for kind in split.group_by if kind != "row"]
    schema = pa.schema([(name, pa.string()) for name in ("example_id", "group_id", "prompt", "rows", *kinds)])
    for batch in _batched(_read_turns(rows, split.context_turns)):
        made = []
        barred = {match.place: match for match in off_limits.find([turn.prompt for turn in batch])}
        for at, (place, row, prompt, made_of) in enumerate(batch):
            if at in barred:
                refused.append(refuse(row, "off_limits", _told(barred[at])))
                continue
            missing = [part for part in ("label", "reply") if part in usecase.task.answer and not row[part]]
            if missing:
                refused.append(refuse(row, f"{missing[0]}_missing", f"task.answer {usecase.task.answer} needs it"))
                continue
            example_id = digest(prompt, row["reply"] or "", row["label"] or "")
            if example_id in seen:
                duplicates += 1
                continue
            seen.add(example_id)
            keys = {kind: key(kind, row[KEYS[kind]]) for kind in kinds}
            places.append(place)
            own = {"example_id": example_id, "group_id": name(split, keys, prompt), "prompt": prompt, "rows": json.dumps(made_of)}
            made.append(own | keys)
        tables.append(pa.Table.from_pylist(made, schema))
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    own = table.select(["example_id", "group_id", "prompt", "rows"])
    return Drafts(rows, np.array(places, np.int64), own, {kind: table.column(kind) for kind in kinds}, duplicates)


def key(kind: str, value: str | None) -> str | None:
    """What a row is grouped by: its conversation, its person, or the template of its text."""
    return text.template(value) if kind == "template" and value is not None else value or None


def name(split: Split, keys: dict[str, str | None], prompt: str) -> str:
    """The id of a row's group before groups are merged: of the first key that it has, else of its prompt."""
    kind = next((kind for kind in split.group_by if keys.get(kind)), None)
    if kind is None:
        return digest("group", text.normalise(prompt))
    alone = len(split.group_by) == 1 and kind != "template"  # the ids that groups had when there was one key only
    return digest("group", *([] if alone else [kind]), keys[kind])


def _told(match: contamination.Match) -> str:
    return f"matches {match.where} ({match.kind}), which may never be trained on"


def refuse(row: dict, reason: str, detail: str) -> dict:
    """A row of `quarantine`."""
    place = {name: row[name] for name in ("file", "source", "line")}
    return place | {"reason": reason, "detail": detail, "raw": row["text"][:10_000]}


def digest(*parts: str) -> str:
    """SHA-256 of the parts, the first 16 hex digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


class _Turn(NamedTuple):
    """A row with what the model reads of it."""

    place: int
    row: dict
    prompt: str
    made_of: list[str]  # row ids, its own last


def _read_turns(rows: "pa.Table", context_turns: int) -> Iterator[_Turn]:
    """Each row: its text after the last `context_turns` turns of its conversation, which stand before it in `rows`."""
    columns = ["file", "source", "line", "row_id", "conversation_id", "subject_id", "text", "label", "reply"]
    conversation, said = None, deque(maxlen=context_turns)
    for start in range(0, len(rows), BATCH):
        for place, row in enumerate(rows.slice(start, BATCH).select(columns).to_pylist(), start):
            if not row["conversation_id"] or row["conversation_id"] != conversation:
                conversation, said = row["conversation_id"], deque(maxlen=context_turns)
            turn = f"Customer: {row['text']}"
            prompt = "\n".join([*(found for _, found in said), turn]) if said else row["text"]
            yield _Turn(place, row, prompt, [*(row_id for row_id, _ in said), row["row_id"]])
            said.append((row["row_id"], turn + (f"\nAgent: {row['reply']}" if row["reply"] else "")))


def _batched(turns: Iterator[_Turn]) -> Iterator[list[_Turn]]:
    while batch := list(itertools.islice(turns, BATCH)):
        yield batch
