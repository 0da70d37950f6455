"""Which version stands as champion and in staging, as the ledger's entries tell it; `registry.move` adds such entries."""

from collections.abc import Iterable
from typing import NamedTuple

from pipelines.foundation.ledger import Entry

ALWAYS = "9999-12-31"  # as seen after every night


class Stage(NamedTuple):
    """A version that is being confirmed on fresh rows."""

    version: str
    night: str  # of the verdict that brought it there: rows of later nights are fresh to it


def champion_version(chain: Iterable[Entry], night: str = ALWAYS) -> str | None:
    """The champion that stood when a night began; None is the base model.

    Promotions by this night or a later one do not count, so that a repeated night compares with the same model again, and
    none with a model of its future. A rollback is a person's act and counts for every night that runs after it, unless it
    leads to a model that this night or a later one brought.
    """
    version, made = None, {}  # made: version -> the night that brought it
    for entry in chain:
        if entry.kind == "promotion":
            made[entry.body["version"]] = entry.night
        if entry.kind in ("promotion", "rollback") and made.get(entry.body["version"], "") < night:
            version = entry.body["version"]
    return version


def late(chain: Iterable[Entry], night: str) -> str:
    """Why what a night found out comes too late to move anything; empty where it does not.

    A later night has moved already, because this one was run late or both at once: what is newer stays.
    """
    chain = list(chain)
    stands, stage = champion_version(chain), staged(chain)
    brought = [entry.night for entry in chain if entry.kind == "promotion" and entry.body["version"] == stands]
    if brought and brought[-1] > night:
        return f"a later night has promoted already: version {stands}, on {brought[-1]}"
    if stage and stage.night > night:
        return f"a later night has brought a model to staging already: version {stage.version}, on {stage.night}"
    return ""


def staged(chain: Iterable[Entry], night: str = ALWAYS) -> Stage | None:
    """The version in staging when a night began; every change of the champion ends it: its evidence was against the old one."""
    found = None
    for entry in chain:
        if entry.kind == "rollback" or (entry.kind == "promotion" and entry.night < night):
            found = None
        elif entry.kind == "staging" and entry.night < night:
            found = Stage(entry.body["version"], entry.night) if entry.body["version"] else None
    return found


def abandoned(chain: Iterable[Entry], model: str) -> Entry | None:
    """The newest rollback away from a model (its content key): no verdict brings it back, only a rollback to it does."""
    chain = list(chain)
    versions = {entry.body["version"] for entry in chain if entry.kind == "promotion" and entry.body["model"] == model}
    found = [entry for entry in chain if entry.kind == "rollback" and entry.body["abandoned"] in versions]
    return found[-1] if found else None
