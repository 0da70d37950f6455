"""People's answers to labels that looked wrong or were wanted, applied where rows are read.

The rows of `examples` stay as they came; the newest answer to a row counts from the next night's reading on. Only the label
changes: side, group and id stay, so that nothing moves between train and test. Sealed rows are never changed.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pipelines.foundation.lake import Lake
from pipelines.foundation.step import fingerprint


class Answer(NamedTuple):
    """What a person said of a row."""

    label: str
    was: str | None
    by: str
    source: str  # suggest | error


def answers(lake: Lake) -> dict[str, Answer]:
    """The newest answer by example_id."""
    rows = lake.read("labels", lake.version("labels")).to_pylist()
    ordered = sorted(rows, key=lambda row: (row["at"], row["label"]))
    return {row["example_id"]: Answer(row["label"], row["was"], row["by"], row["source"]) for row in ordered}


def state(lake: Lake) -> str:
    """A hash of all answers that count, empty where there are none: part of the key of a step that reads corrected rows."""
    found = answers(lake)
    return fingerprint(sorted((name, answer.label) for name, answer in found.items())) if found else ""


def corrected(lake: Lake, rows: Iterable[dict]) -> list[dict]:
    """The rows of `examples` or `synthetic`, or both, in their order, with the labels that people gave.

    A real row whose label changes has the source "corrected". A synthetic row follows its parent: it was made to have the
    parent's label.
    """
    found, rows = answers(lake), list(rows)
    if not found:
        return rows
    labels = {name: answer.label for name, answer in found.items()}
    for row in sorted(rows, key=lambda row: row.get("depth") or 0):
        if row["source"] == "synthetic" and row["parent_id"] in labels:
            labels[row["example_id"]] = labels[row["parent_id"]]
    return [_apply(row, labels.get(row["example_id"])) for row in rows]


def _apply(row: dict, label: str | None) -> dict:
    if label is None or row["split"] != "train" or row["label"] == label:
        return row
    return row | {"label": label, "source": row["source"] if row["source"] == "synthetic" else "corrected"}
