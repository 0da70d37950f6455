"""Nights that were validated before this one: how many rows they had, and the contract they were held to."""

import json
from statistics import median
from typing import NamedTuple

from pipelines.data.contract.checking import Result
from pipelines.foundation.lake import Lake
from pipelines.sections import Volume

LEAST = 3  # nights, before which the volume is not judged
PART = "contract."  # how a key of the contract begins among the parts of a step's key


class Validated(NamedTuple):
    """An earlier night that passed."""

    night: str
    accepted: int
    parts: dict[str, str]  # what its validation depended on, by name


def validated(lake: Lake, night: str) -> list[Validated]:
    """The nights before `night` that validate passed, oldest first, each as it was validated last."""
    where = f"step = 'validate' AND night < '{night}'"
    rows = lake.read("memo", lake.version("memo"), ["night", "result", "parts", "at"], where).to_pylist()
    newest = {row["night"]: row for row in sorted(rows, key=lambda row: row["at"])}
    found = ((name, json.loads(row["result"]), json.loads(row["parts"] or "{}")) for name, row in sorted(newest.items()))
    return [Validated(name, result["accepted"], parts) for name, result, parts in found]


def changes(before: list[Validated], parts: dict[str, str], defaults: dict[str, str]) -> list[str]:
    """Keys of the contract that are not as on the last night that was validated; one that it did not know had its default."""
    if not before or not before[-1].parts:  # none, or of a release that did not keep them
        return []
    old, new, unset = (_contract(held) for held in (before[-1].parts, parts, defaults))
    return sorted(key for key in set(old) | set(new) if old.get(key, unset.get(key)) != new.get(key, unset.get(key)))


def _contract(parts: dict[str, str]) -> dict[str, dict[str, str]]:
    """The parts of each key of a contract."""
    found: dict[str, dict[str, str]] = {}
    for name, value in parts.items():
        if name.startswith(PART):
            found.setdefault(name.removeprefix(PART).partition(".")[0], {})[name] = value
    return found


def volume(limits: Volume, before: list[Validated], accepted: int) -> Result:
    """This night's accepted rows against the median of the last nights."""
    last = [found.accepted for found in before[-limits.nights :]]
    expected = f"{limits.min_share:g} to {limits.max_share:g} times the median of the last {limits.nights} nights"
    if len(last) < LEAST:
        return Result("volume", expected, f"not judged: {len(last)} night(s) were validated before, and {LEAST} are needed", True)
    middle = median(last)
    passed = limits.min_share * middle <= accepted <= limits.max_share * middle
    share = f", {accepted / middle:.2f} times" if middle else ""
    return Result("volume", expected, f"{accepted:,} rows{share} the median {middle:,.0f} of {len(last)} nights", passed)
