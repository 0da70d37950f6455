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

    Promotions by this night or a later one do not count, so that a repeated night compares with the same model again;
    a rollback is a person's act and counts for every night that runs after it.
    """
    moves = [entry for entry in chain if entry.kind == "rollback" or (entry.kind == "promotion" and entry.night < night)]
    return moves[-1].body["version"] if moves else None


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
