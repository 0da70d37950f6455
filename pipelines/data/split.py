"""Rows become examples, kept apart for good: `python -m pipelines split --usecase support --night 2026-11-20`.

The unit is the group: rows that share a key of `split.group_by` (a conversation, a person, a template of words) or hold
near-duplicates of each other. A hash of the group's id decides its side, so that the split is stable as data grows, and a
new row that belongs to an old one's group lands on the old one's side. A row that belongs to old ones on both sides is
refused (split_conflict). Time is linear in the rows of all nights; what is held of each is little: of one of another night
its id, of a sealed one its hashes, of tonight's its text and its hashes.

Prompts and injections of `safety` may never be trained on (`foundation.protected`), nor the texts of `split.off_limits`
(`foundation.contamination`). A new row that matches one goes to quarantine with the reason safety_set or off_limits, before
it becomes anybody's context. A row that an earlier night accepted, before the file was there, stays where it is, for a side
never changes: those of the safety set are counted here, and `finetune`, through which every row that is trained on has to
pass, leaves it out. A changed file changes the key of this step and of all steps after it.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data import drafts, groups
from pipelines.errors import NightStopped
from pipelines.foundation import contamination, ledger, offlimits, protected, records
from pipelines.foundation.moves import ALWAYS
from pipelines.foundation.step import Night, step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROUNDS = 3
log = logging.getLogger("pipelines.split")


class Sides(NamedTuple):
    """Where tonight's drafts go."""

    kept: "np.ndarray"  # bool [n]
    group_id: list[str]
    split: list[str]  # train | test


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings."""
    erasures = [entry.body["id"] for entry in ledger.entries(night.lake) if entry.kind == "erasure" and _concerns(entry, night)]
    return {"safety files": protected.digests(night), "off-limits files": offlimits.digests(night), "erasures": sorted(set(erasures))}


def _concerns(entry: ledger.Entry, night: Night) -> bool:
    return min(entry.body["nights"], default=ALWAYS) <= night.night


@step(code=3, after="scrub", sections=("split", "task"), extra=_inputs)
def split(night: Night) -> dict:
    """Write this night's examples; raises NightStopped where train rows match sealed rows.

    Refused rows (no label or reply where the task needs one, of a group on both sides, or matching the safety set or an
    off-limits file) go to quarantine. Raises UserError for a wrong safety or off-limits file.
    """
    # The newest version, not the memo's: a row that an earlier night put on one side must stay there.
    version = night.lake.version("examples")
    refused: list[dict] = []
    guard = protected.Guard(night)
    off_limits = contamination.Wall(offlimits.read(night), night.usecase.split.near_duplicate)
    rows = drafts.bar(drafts.read(night, night.before("scrub")["clean"]), guard, off_limits, refused)
    before, known = _read_before(night, version, guard)
    found = drafts.draft(night.usecase, rows, known, off_limits, refused)
    sides = _assign(night, found, groups.merge(night, found, version))
    sides, written, near_before = _write(night, found, sides)
    refused += _conflicts(found, sides)
    quarantine = night.lake.replace(
        "quarantine", (row | {"night": night.night, "step": "split"} for row in refused), night=night.night, step="split"
    )
    kept = [place for place in range(len(sides.split)) if sides.kept[place]]
    count = Counter(sides.split[place] for place in kept)
    return {
        "examples": written,
        "quarantine": quarantine,
        "train": count["train"],
        "test": count["test"],
        "groups": len({sides.group_id[place] for place in kept}),
        "duplicates": found.duplicates,
        "quarantined": len(refused),
        "near_before": near_before,
    } | before


def _read_before(night: Night, version: int | None, guard: protected.Guard) -> tuple[dict[str, int], set[str]]:
    """Counts of the rows of earlier nights, and their ids."""
    sides: Counter[str] = Counter()
    known: set[str] = set()
    held = 0
    for batch in night.lake.scan("examples", version, ["example_id", "split", "night", "prompt"], f"night < '{night.night}'"):
        ids = batch.column("example_id").to_pylist()
        known.update(ids)
        sides.update(batch.column("split").to_pylist())
        for row in batch.to_pylist() if guard.entries else ():
            if row["split"] == "train" and (entry := guard.find(row["prompt"])) is not None:
                held += 1
                told = protected.told(entry)
                log.warning("the train row %s of %s matches %s: it is not trained on", row["example_id"], row["night"], told)
    return {"train_before": sides["train"], "test_before": sides["test"], "protected_before": held}, known


def _assign(night: Night, found: drafts.Drafts, merged: groups.Merged) -> Sides:
    """Give each group its side; those that belong to rows of other nights take theirs, of both sides none is kept."""
    import numpy as np

    names = found.table.column("group_id").to_pylist()
    smallest: dict[int, str] = {}
    roots = merged.roots.tolist()
    for root, own in zip(roots, names, strict=True):
        smallest[root] = min(own, smallest.get(root, own))
    decided: dict[int, tuple[bool, str, str]] = {}
    for root, own in smallest.items():
        sides = merged.taken.get(root, {})
        group_id = min(sides.values()) if sides else own
        drawn = "test" if _uniform(group_id) < night.usecase.split.test_share else "train"
        decided[root] = len(sides) < 2, group_id, next(iter(sides), drawn)
    kept = np.array([decided[root][0] for root in roots], bool)
    return Sides(kept, [decided[root][1] for root in roots], [decided[root][2] for root in roots])


def _write(night: Night, found: drafts.Drafts, sides: Sides) -> "tuple[Sides, int, int]":
    """Write the night's rows and compare what is stored, train with sealed; returns sides, version, and near rows of earlier nights.

    A row of tonight that is near to the other side is taken out again: where buckets are large, `neighbours` finds it only now.
    The same text on both sides, or rows of earlier nights, cannot come of that: raises NightStopped. Rows of earlier nights
    that are only near to each other were let in at a higher threshold: they are told, and `finetune` leaves them out.
    """
    places = {example_id: place for place, example_id in enumerate(found.table.column("example_id").to_pylist())}
    for _ in range(ROUNDS):
        version = night.lake.replace("examples", lambda: _batches(night, found, sides), night=night.night)
        wrong, near, out = [], 0, []
        for example_id, when, match in contamination.find_crossings(night, version):
            if tonight := [one for one, day in ((example_id, when), (match.where, match.night)) if day == night.night]:
                out.append(places[tonight[0]])
            elif match.kind == "near":
                near += 1
                log.warning("the train row %s of %s is near to the sealed row %s: it is not trained on", example_id, when, match.where)
            else:
                wrong.append(contamination.tell(example_id, match))
        contamination.stop(wrong)
        if not out:
            return sides, version, near
        sides.kept[out] = False
    raise NightStopped(f"split: after {ROUNDS} rounds tonight's rows still match the other side, see split.near_duplicate")


def _batches(night: Night, found: drafts.Drafts, sides: Sides) -> "Iterator[pa.RecordBatch]":
    """The examples, some thousand at a time."""
    import numpy as np
    import pyarrow as pa

    schema = records.schema("examples")
    kept = np.flatnonzero(sides.kept)
    for start in range(0, len(kept), drafts.BATCH):
        at = kept[start : start + drafts.BATCH]
        own, row = found.table.take(at), found.rows.take(found.places[at])
        values = {name: own.column(name) for name in ("example_id", "prompt", "rows")}
        values |= {name: row.column(name) for name in ("subject_id", "label", "day", "attributes")}
        values |= {"response": row.column("reply"), "parent_id": pa.nulls(len(at), pa.string())}
        values |= {"group_id": pa.array([sides.group_id[place] for place in at]), "split": pa.array([sides.split[place] for place in at])}
        values |= {name: pa.array([value] * len(at)) for name, value in (("source", "traffic"), ("night", night.night))}
        yield from pa.table([values[name] for name in schema.names], schema=schema).to_batches()


def _conflicts(found: drafts.Drafts, sides: Sides) -> list[dict]:
    """The refusals of drafts that are not kept."""
    import numpy as np

    rows = found.rows.take(found.places[np.flatnonzero(~sides.kept)])
    return [drafts.refuse(row, "split_conflict", "a near-duplicate of rows on both sides of the split") for row in rows.to_pylist()]


def _uniform(group_id: str) -> float:
    """A number in [0, 1) that only the group's id decides."""
    return int(hashlib.sha256(f"split:{group_id}".encode()).hexdigest()[:13], 16) / 16**13
