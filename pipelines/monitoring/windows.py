"""Tonight's traffic and the days before it, side by side, and the columns in which they are compared.

Only numbers, labels and words are derived here; no column holds a person's text.
"""

import datetime
import hashlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.privacy import PLACEHOLDER
from pipelines.foundation.step import Night

if TYPE_CHECKING:
    import numpy as np

MOST_ROWS = 10_000  # of a window; more are thinned by whole conversations, chosen by hash
MOST_VALUES = 20  # of an attribute that is compared as categories
MOST_ATTRIBUTES = 20
NONE = "(none)"
_WORD = re.compile(r"\w+")


class Windows(NamedTuple):
    """Rows of both windows, n in all, in one order."""

    words: list[list[str]]  # of each row's text, lower case
    chars: list[int]
    labels: list[str]
    conversations: list[str]  # rows of one conversation move together
    attributes: list[dict]
    tonight: "np.ndarray"  # [n] bool, False: reference
    rows: dict[str, int]  # before thinning, by window
    first_day: str  # of the reference, YYYY-MM-DD


class Column(NamedTuple):
    """One thing to compare."""

    name: str
    kind: str  # numeric | categorical
    values: "np.ndarray"  # [n], as Windows


class Columns(NamedTuple):
    """What can be compared, and what cannot with the reason."""

    found: list[Column]
    skipped: dict[str, str]


def read(night: Night) -> Windows:
    """Both windows from `clean`: the day that is the night itself, and the reference_days before it.

    Rows that only a later night brought are left out, so that a repeated night sees what it saw.
    """
    import numpy as np

    first = (datetime.date.fromisoformat(night.night) - datetime.timedelta(days=night.usecase.drift.reference_days)).isoformat()
    names = ["row_id", "day", "conversation_id", "text", "label", "attributes"]
    where = f"night <= '{night.night}' AND day >= '{first}' AND day <= '{night.night}'"
    table = night.lake.read("clean", night.before("scrub")["clean"], names, where)
    rows = sorted(table.to_pylist(), key=lambda row: (row["day"], row["row_id"] or "", row["text"] or ""))
    split = {"tonight": [], "reference": []}
    for place, row in enumerate(rows):
        row["conversation"] = row["conversation_id"] or f"row {row['row_id'] or place}"
        split["tonight" if row["day"] == night.night else "reference"].append(row)
    kept = _thin(split["reference"]) + _thin(split["tonight"])
    texts = [PLACEHOLDER.sub(r"<\g<type>>", row["text"] or "") for row in kept]  # which of a conversation's names it was is no drift
    return Windows(
        words=[words(text) for text in texts],
        chars=[len(text) for text in texts],
        labels=[row["label"] or NONE for row in kept],
        conversations=[row["conversation"] for row in kept],
        attributes=[json.loads(row["attributes"] or "{}") for row in kept],
        tonight=np.array([row["day"] == night.night for row in kept], dtype=bool),
        rows={name: len(found) for name, found in split.items()},
        first_day=first,
    )


def words(text: str) -> list[str]:
    """The words of a text in order, lower case."""
    return _WORD.findall(text.lower())


def columns(windows: Windows) -> Columns:
    """Everything that the windows are compared in, apart from the text itself."""
    import numpy as np

    found = [
        Column("text_words", "numeric", np.array([len(row) for row in windows.words], dtype=float)),
        Column("text_chars", "numeric", np.array(windows.chars, dtype=float)),
        Column("oov_share", "numeric", np.array(unknown_shares(windows), dtype=float)),
    ]
    skipped = {}
    if set(windows.labels) == {NONE}:
        skipped["label"] = "no row has a label"
    else:
        found.append(Column("label", "categorical", np.array(windows.labels, dtype=object)))
    attributes = _attributes(windows)
    return Columns(found + attributes.found, skipped | attributes.skipped)


def unknown_shares(windows: Windows) -> list[float]:
    """For each row, the share of its words that no other conversation of the reference has.

    A reference row is thus judged by the vocabulary of the others, as one of tonight's rows is: known to itself, it would
    show 0 whatever it says.
    """
    owners: dict[str, str | None] = {}  # None: more than one conversation
    for row, conversation, tonight in zip(windows.words, windows.conversations, windows.tonight, strict=True):
        if not tonight:
            for word in row:
                owners[word] = conversation if owners.get(word, conversation) == conversation else None
    return [
        sum(owners.get(word, own) == own for word in row) / len(row) if row else 0.0
        for row, own in zip(windows.words, windows.conversations, strict=True)
    ]


def _attributes(windows: Windows) -> Columns:
    """Attributes that most rows of a window have, and that take few values (a channel, a language, a tier)."""
    import numpy as np

    have: dict[str, Counter] = {}
    for row, tonight in zip(windows.attributes, windows.tonight, strict=True):
        for key in row:
            have.setdefault(key, Counter())[bool(tonight)] += 1
    sizes = Counter(bool(tonight) for tonight in windows.tonight)
    found, skipped = [], {}
    for key in sorted(have):
        values = [_category(row.get(key)) for row in windows.attributes]
        name = f"attributes.{key}"
        if all(have[key][window] * 2 < size for window, size in sizes.items()):
            skipped[name] = "fewer than half of the rows have it"
        elif len(set(values)) > MOST_VALUES:
            skipped[name] = f"more than {MOST_VALUES} values"
        elif len(found) == MOST_ATTRIBUTES:
            skipped[name] = f"only the first {MOST_ATTRIBUTES} attributes are compared"
        else:
            found.append(Column(name, "categorical", np.array(values, dtype=object)))
    return Columns(found, skipped)


def _category(value: object) -> str:
    return NONE if value is None or value == "" else str(value)


def _thin(rows: list[dict]) -> list[dict]:
    """At most MOST_ROWS rows, whole conversations with the lowest hashes."""
    if len(rows) <= MOST_ROWS:
        return rows
    sizes = Counter(row["conversation"] for row in rows)
    kept, count = set(), 0
    for conversation in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if count + sizes[conversation] > MOST_ROWS:
            break
        kept.add(conversation)
        count += sizes[conversation]
    return [row for row in rows if row["conversation"] in kept]
