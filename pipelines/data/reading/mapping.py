"""A source's row as a row of the table `traffic`, or the reason why it is none.

Reasons given here: missing_text, text_not_a_string, empty_text, label_missing, label_unknown, reply_not_a_string,
bad_turn, bad_row_id (and _conversation_id, _subject_id, _label), bad_created_at, after_night. A time without a zone is read as UTC.
"""

import datetime
import json
import math
from typing import Any, NamedTuple

from pipelines.data.reading.rows import Refusal, Row, refuse
from pipelines.sections import Source, UseCase

OURS = ("row_id", "conversation_id", "turn", "subject_id", "created_at", "text", "label", "reply")
TURNS = 1_000_000  # a higher turn is a mistake
ATTRIBUTES = json.JSONEncoder(ensure_ascii=False, sort_keys=True)  # sorted: the same columns in another order are the same content


class Mapping(NamedTuple):
    """How the rows of one file become ours."""

    columns: dict[str, str]  # our column to the source's
    theirs: frozenset[str]  # the source's columns that are mapped
    labels: frozenset[str]  # the closed set; empty: not checked
    end: datetime.datetime  # UTC; rows from then on are not of this night
    file: str  # SHA-256
    source: str
    night: str
    day: str  # where a row has no time


class _Bad(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def needed(source: Source, usecase: UseCase) -> dict[str, str]:
    """Our columns that a table must have, with the source's names: those mapped, or text and the label by their own names."""
    if source.columns:
        return {"text": "text"} | source.columns
    return {"text": "text"} | ({"label": "label"} if closed_labels(usecase) else {})


def closed_labels(usecase: UseCase) -> frozenset[str]:
    """The labels that a row may have, empty where they are not checked."""
    return frozenset(usecase.contract.labels) if "label" in usecase.task.answer else frozenset()


def mapping(source: Source, usecase: UseCase, file: str, shown: str, night: str, day: str) -> Mapping:
    """The mapping of one file; without `columns` every one of ours that is there is taken by its own name."""
    columns = {"text": "text"} | source.columns if source.columns else {name: name for name in OURS}
    end = datetime.datetime.combine(datetime.date.fromisoformat(night), datetime.time(), datetime.UTC) + datetime.timedelta(days=1)
    return Mapping(columns, frozenset(columns.values()), closed_labels(usecase), end, file, shown, night, day)


def accept(row: Row, how: Mapping) -> dict[str, Any] | Refusal:
    """A row of `traffic`, or a refusal."""
    mapped = {ours: row.columns.get(theirs) for ours, theirs in how.columns.items()}
    try:
        created = _time(mapped.get("created_at"), how)
        found = {
            "row_id": _identifier(mapped, "row_id") or f"{how.file[:16]}:{row.line}",
            "file": how.file,
            "source": how.source,
            "line": row.line,
            "night": how.night,
            "day": created.date().isoformat() if created else how.day,
            "created_at": created,
            "conversation_id": _identifier(mapped, "conversation_id"),
            "turn": _turn(mapped.get("turn")),
            "subject_id": _identifier(mapped, "subject_id"),
            "text": _text(mapped.get("text"), how.columns["text"] in row.columns),
            "label": _label(mapped, how.labels),
            "reply": _reply(mapped.get("reply")),
        }
    except _Bad as bad:
        return refuse(row.line, bad.reason, bad.detail, row.raw)
    rest = {name: _plain(value) for name, value in row.columns.items() if name not in how.theirs}
    found["attributes"] = ATTRIBUTES.encode(rest)
    return found


def _text(value: object, there: bool) -> str:
    if value is None:
        raise _Bad("missing_text", "the text is null" if there else "the text's column is not in the row")
    if not isinstance(value, str):
        raise _Bad("text_not_a_string", f"the text is {_kind(value)}")
    if not value.strip():
        raise _Bad("empty_text", "the text is empty" if not value else "the text is white space")
    return value


def _label(mapped: dict, labels: frozenset[str]) -> str | None:
    label = _identifier(mapped, "label")
    if labels and not label:
        raise _Bad("label_missing", "the row has no label")
    if labels and label not in labels:
        raise _Bad("label_unknown", f"{label[:100]!r} is not among the labels of contract.yaml")
    return label


def _reply(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _Bad("reply_not_a_string", f"the reply is {_kind(value)}")
    return value or None


def _identifier(mapped: dict, name: str) -> str | None:
    """Text or a whole number as text; null or empty is None."""
    value = mapped.get(name)
    if isinstance(value, str):
        return value or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what pandas makes of whole numbers with gaps
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 64:
        raise _Bad(f"bad_{name}", f"{name} is {_kind(value)}, not text or a whole number")
    return str(value)


def _kind(value: object) -> str:
    """What a value is, as JSON calls it."""
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object", bytes: "bytes"}
    return kinds.get(type(value), f"of type {type(value).__name__}")


def _turn(value: object) -> int | None:
    if type(value) is int and 1 <= value <= TURNS:
        return value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 7 or not 1 <= int(text) <= TURNS:
        raise _Bad("bad_turn", f"turn {str(value)[:100]!r} is not a whole number from 1 on")
    return int(text)


def _time(value: object, how: Mapping) -> datetime.datetime | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = _instant(value)
    except (ValueError, OverflowError, OSError):
        raise _Bad("bad_created_at", f"{str(value)[:100]!r} is not a time: write ISO 8601 (2026-11-20T09:30:00Z) or Unix seconds") from None
    if found >= how.end:
        raise _Bad("after_night", f"{found.isoformat()} is after the end of the night {how.night} (UTC)")
    return found


def _instant(value: object) -> datetime.datetime:
    """A time in UTC from a time, a date, ISO 8601 text, or Unix seconds or milliseconds; raises ValueError."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) in (10, 13) else datetime.datetime.fromisoformat(text)
    elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        value = datetime.datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, datetime.UTC)
    if not isinstance(value, datetime.datetime):
        raise ValueError(value)
    return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)


def _plain(value: object) -> object:
    """A value that JSON can hold."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str | int) else str(value)
