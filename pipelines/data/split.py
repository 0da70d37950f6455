"""Rows become examples, kept apart for good: `python -m pipelines split --usecase support --night 2026-11-20`.

The unit is the group (a conversation, a person, or a row). Groups that hold near-duplicates of each other are merged
first; then a hash of the group's id decides, so that the split is stable as data grows and a new near-duplicate of an
old row lands on the old row's side.

Prompts and injections of `safety` may never be trained on (`foundation.protected`). A new row that matches one goes to
quarantine with the reason safety_set, before it becomes anybody's context. A row that an earlier night accepted, before
the safety file was there, stays where it is, for a side never changes: it is counted here, and `finetune`, through which
every row that is trained on has to pass, leaves it out. A changed safety file changes the key of this step and of all
steps after it.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable

from pipelines.errors import NightStopped
from pipelines.foundation import protected, text
from pipelines.foundation.step import Night, step
from pipelines.sections import UseCase

log = logging.getLogger("pipelines.split")


@step(code=2, after="scrub", sections=("split", "task"), extra=lambda night: {"safety files": protected.digests(night)})
def split(night: Night) -> dict:
    """Write this night's examples; raises NightStopped where a prompt stands on both sides.

    Refused rows (no label or reply where the task needs one, near-duplicates of rows on both sides, or of the safety set)
    go to quarantine. Raises UserError for a wrong safety file.
    """
    rows = night.lake.read("clean", night.before("scrub")["clean"], where=f"night = '{night.night}'").to_pylist()
    # The newest version, not the memo's: a row that an earlier night put on one side must stay there.
    old = night.lake.read("examples", night.lake.version("examples"), where=f"night < '{night.night}'").to_pylist()
    refused: list[dict] = []
    guard = protected.Guard(night)
    rows = _unprotected(rows, guard, refused)
    drafts, duplicates = _drafts(night.usecase, rows, {row["example_id"] for row in old}, refused)
    examples = _assign(drafts, old, night.usecase, refused)
    _check(old + examples)
    quarantine = night.lake.replace(
        "quarantine", (row | {"night": night.night, "step": "split"} for row in refused), night=night.night, step="split"
    )
    version = night.lake.replace("examples", (row | {"night": night.night} for row in examples), night=night.night)
    sides = Counter(row["split"] for row in examples)
    return {
        "examples": version,
        "quarantine": quarantine,
        "train": sides["train"],
        "test": sides["test"],
        "groups": len({row["group_id"] for row in examples}),
        "duplicates": duplicates,
        "quarantined": len(refused),
        "train_before": sum(row["split"] == "train" for row in old),
        "test_before": sum(row["split"] == "test" for row in old),
        "protected_before": _held_back(old, guard),
    }


def _unprotected(rows: list[dict], guard: protected.Guard, refused: list[dict]) -> list[dict]:
    """The rows without those that match the safety set."""
    kept = []
    for row in rows:
        if (entry := guard.find(row["text"])) is None:
            kept.append(row)
        else:
            refused.append(_refuse(row, "safety_set", f"matches {protected.told(entry)}, which may never be trained on"))
    return kept


def _held_back(old: list[dict], guard: protected.Guard) -> int:
    """Train rows of earlier nights that match the safety set: `finetune` leaves them out."""
    found = [(row, entry) for row in old if row["split"] == "train" and (entry := guard.find(row["prompt"])) is not None]
    for row, entry in found:
        log.warning("the train row %s of %s matches %s: it is not trained on", row["example_id"], row["night"], protected.told(entry))
    return len(found)


def _drafts(usecase: UseCase, rows: list[dict], known: set[str], refused: list[dict]) -> tuple[list[dict], int]:
    """Examples without a side, and the number of exact duplicates that were left out."""
    drafts, duplicates = [], 0
    for row, prompt in _prompts(rows, usecase.split.context_turns):
        missing = [part for part in ("label", "reply") if part in usecase.task.answer and not row[part]]
        if missing:
            refused.append(_refuse(row, f"{missing[0]}_missing", f"task.answer {usecase.task.answer} needs it"))
            continue
        example_id = _digest(prompt, row["reply"] or "", row["label"] or "")
        if example_id in known:
            duplicates += 1
            continue
        known.add(example_id)
        key = {"conversation": row["conversation_id"], "subject": row["subject_id"], "row": None}[usecase.split.group_by]
        drafts.append(
            {
                "example_id": example_id,
                "group_id": _digest("group", key or text.normalise(prompt)),
                "subject_id": row["subject_id"],
                "prompt": prompt,
                "response": row["reply"],
                "label": row["label"],
                "source": "traffic",
                "parent_id": None,
                "day": row["day"],
                "attributes": row["attributes"],
                "row": row,
            }
        )
    return drafts, duplicates


def _prompts(rows: list[dict], context_turns: int) -> Iterable[tuple[dict, str]]:
    """Each row with what the model reads: its text after the last `context_turns` turns of its conversation."""
    earlier: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["conversation_id"] or "", row["turn"] or 1, row["file"], row["line"])):
        said = earlier[row["conversation_id"]] if row["conversation_id"] else []
        context = said[-context_turns:] if context_turns else []
        yield row, "\n".join([*context, f"Customer: {row['text']}"]) if context else row["text"]
        said.append(f"Customer: {row['text']}" + (f"\nAgent: {row['reply']}" if row["reply"] else ""))


def _assign(drafts: list[dict], old: list[dict], usecase: UseCase, refused: list[dict]) -> list[dict]:
    """Merge near-duplicate groups, then give each group its side; old groups keep theirs."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (up := parent.setdefault(group, group)) != group:
            parent[group] = group = parent.setdefault(up, up)
        return group

    everything = old + drafts
    for one, two in text.near_duplicates([row["prompt"] for row in everything], usecase.split.near_duplicate):
        first, second = sorted((root(everything[one]["group_id"]), root(everything[two]["group_id"])))
        parent[second] = first
    taken: dict[str, set[tuple[str, str]]] = defaultdict(set)  # merged group -> (side, group id) that stand already
    for row in old:
        taken[root(row["group_id"])].add((row["split"], row["group_id"]))
    examples = []
    for draft in drafts:
        group = root(draft["group_id"])
        row = draft.pop("row")
        sides = {side for side, _ in taken[group]}
        if len(sides) > 1:
            refused.append(_refuse(row, "split_conflict", "a near-duplicate of rows on both sides of the split"))
            continue
        group_id = min(name for _, name in taken[group]) if sides else group
        side = sides.pop() if sides else ("test" if _uniform(group_id) < usecase.split.test_share else "train")
        examples.append(draft | {"group_id": group_id, "split": side})
    return examples


def _check(examples: list[dict]) -> None:
    """The split is violated where the same normalised prompt stands on both sides."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in examples:
        sides[text.normalise(row["prompt"])].add(row["split"])
    if leaks := [prompt for prompt, found in sides.items() if len(found) > 1]:
        ids = [row["example_id"] for row in examples if text.normalise(row["prompt"]) == leaks[0]]
        raise NightStopped(f"split: {len(leaks)} prompts stand in both train and test, first the examples {', '.join(ids)}")


def _refuse(row: dict, reason: str, detail: str) -> dict:
    return {
        "file": row["file"],
        "source": row["source"],
        "line": row["line"],
        "reason": reason,
        "detail": detail,
        "raw": row["text"][:10_000],
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _uniform(group_id: str) -> float:
    """A number in [0, 1) that only the group's id decides."""
    return int(hashlib.sha256(f"split:{group_id}".encode()).hexdigest()[:13], 16) / 16**13
