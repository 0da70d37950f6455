"""Words that files of recorded verdicts use, in ours: 1, 2, tie or a grade, None for unscored, and the orders 12 and 21.

Every value that is none of them is a UserError with the file, the line and the column.
"""

import math
import re
from collections.abc import Callable, Iterable

from pipelines.errors import UserError

UNSCORED = ("", "null", "none", "n/a", "na", "unscored")
TIES = ("tie", "tied", "draw", "t", "equal")
OUTPUT = re.compile(r"(?:(?:output|answer|response|model|assistant|option)[ _-]?)?[(\[]*(?:(1|a)|2|b)[)\]]*")
FORWARD = ("12", "1-2", "ab", "a-b", "original", "original_order", "normal", "forward", "unswapped", "first", "false")
BACKWARD = ("21", "2-1", "ba", "b-a", "swapped", "swapped_order", "swap", "reversed", "reverse", "backward", "second", "true")
WORDS = dict.fromkeys(FORWARD, "12") | dict.fromkeys(BACKWARD, "21")
NUMBERS = {  # by all the values of a file; a lone 1 may be the second of 0 and 1 or the first of 1 and 2, and tells nothing
    ("0", "1"): {"0": "12", "1": "21"},
    ("1", "2"): {"1": "12", "2": "21"},
    ("0",): {"0": "12"},
    ("1",): {"1": ""},
    ("2",): {"2": "21"},
    ("",): {"": ""},
}


def fold(value: object) -> str:
    """A value as text without case: 1.0 is 1, null is empty."""
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip().casefold().removesuffix(".0")


def winner(path: str, line: int, column: str, value: object) -> str | None:
    """1, 2 or tie; the output that was named, whatever the order it was shown in."""
    text = fold(value)
    if text in UNSCORED or text in TIES:
        return None if text in UNSCORED else "tie"
    found = OUTPUT.fullmatch(text)
    if found is None or not isinstance(value, (str, int, float)):
        raise UserError(f"{path}, line {line}, column {column}: {str(value)[:60]!r} is no verdict; write 1, 2 or tie, or leave it empty")
    return "1" if found[1] else "2"


def grade(path: str, line: int, column: str, value: object) -> str | None:
    """A whole number as text."""
    text = fold(value)
    if text in UNSCORED:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer() or abs(number) > 1e9:
        raise UserError(
            f"{path}, line {line}, column {column}: {str(value)[:60]!r} is not a whole number; leave it empty where none was given"
        )
    return str(int(number))


PARSE: dict[str, Callable[[str, int, str, object], str | None]] = {"pairwise": winner, "pointwise": grade}


def length(path: str, line: int, row: dict[str, object], kind: str) -> float | None:
    """Characters of output 1 minus output 2, or of the answer; None where the row does not tell."""
    texts = [row.get(name) for name in (("output_1", "output_2") if kind == "pairwise" else ("answer",))]
    if all(isinstance(text, str) for text in texts):
        return float(len(texts[0]) - len(texts[1]) if kind == "pairwise" else len(texts[0]))
    value = row.get("length")
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"{path}, line {line}, column length: {str(value)[:60]!r} is not a finite number; leave it empty where it is not known"
        )
    return number


def orders(path: str, found: Iterable[tuple[str, int]]) -> dict[str, str]:
    """A file's folded values, each with its line, to 12, 21, or, where the order is not known, to nothing."""
    seen: dict[str, int] = {}
    for value, line in found:
        seen.setdefault(value, line)
    known = NUMBERS.get(tuple(sorted(seen)), WORDS)
    for value, line in seen.items():
        if value not in known:
            others = ", ".join(repr(other) for other in seen if other != value)[:200]
            wrong = f"{value[:60]!r} does not go with {others}" if others else f"{value[:60]!r} is no order"
            raise UserError(f"{path}, line {line}, column order: {wrong}; write 12 (output 1 was shown first) or 21")
    return {value: known[value] for value in seen}
