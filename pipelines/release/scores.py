"""Reads a file of paired scores, CSV or JSONL, with the columns item, group, champion, candidate (and draw, for many nights).

An empty cell or null is a missing answer, which is counted and never taken for zero. Everything else that is not a
finite number is a UserError with the file, the line and the column.
"""

import math
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import tabular

COLUMNS = ("item", "group", "champion", "candidate")
LARGEST = 1e100  # squares of larger scores would overflow


class Scores(NamedTuple):
    """Columns of equal length, one place a row of the file."""

    groups: list[str]
    champion: list[float | None]
    candidate: list[float | None]
    draws: list[str]  # "" where the file has no such column


def read_scores(path: str, batch: bool = False) -> Scores:
    """Read and check a file; with `batch`, its column `draw` says which night a row belongs to. Raises UserError."""
    columns = (*COLUMNS, "draw") if batch else COLUMNS
    found = Scores([], [], [], [])
    seen: dict[tuple[str, str], int] = {}
    for line, row in tabular.rows(path, columns, ("draw",)):
        item, group = (tabular.name(path, line, column, row[column]) for column in ("item", "group"))
        draw = tabular.name(path, line, "draw", row["draw"]) if batch else ""
        if (draw, item) in seen:
            hint = "" if batch or "draw" not in row else "; the file has a column draw: --batch decides each draw on its own"
            raise UserError(
                f"{path}, line {line}, column item: {item!r} was already on line {seen[draw, item]}; each item is scored once{hint}"
            )
        seen[draw, item] = line
        found.groups.append(group)
        found.champion.append(_score(path, line, "champion", row["champion"]))
        found.candidate.append(_score(path, line, "candidate", row["candidate"]))
        found.draws.append(draw)
    if not seen:
        raise UserError(f"{path} holds no scores: it needs a row an item with the columns {', '.join(columns)}")
    return found


def _score(path: str, line: int, column: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):  # as JSON's own true and false
        return float(value.strip().lower() == "true")
    try:
        plain = isinstance(value, (int, float)) or (isinstance(value, str) and "_" not in value)  # float reads 1_0 as 10
        number = float(value) if plain else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= LARGEST:
        shown = repr(str(value)[:60])
        raise UserError(
            f"{path}, line {line}, column {column}: {shown} is not a finite number below 1e100; leave it empty where the answer is missing"
        )
    return number
