"""Back to an earlier version: `python -m pipelines rollback --usecase support --to 3 --why "wrong refunds"`.

Moves the alias, waits until the serving endpoint answers with that version where the profile names one, and writes who,
when and why to the ledger. `--to base` goes back to the base model. Repeated, it finds nothing to do.
"""

import datetime
import logging
import time

from pipelines.errors import UserError
from pipelines.foundation import ledger, moves, registry
from pipelines.foundation.step import Night, open_night

SERVED_SECONDS = 90  # the endpoint looks for a move every 30 s
log = logging.getLogger("pipelines.rollback")


def rollback(usecase: str, profile: str, to: str, why: str, by: str = "") -> dict:
    """Make `to` the champion; raises UserError for an unknown version, a missing reason, or a move that came first."""
    if not why.strip():
        raise UserError("rollback needs a reason: --why TEXT; it stays in the ledger")
    night = open_night(usecase, profile, datetime.datetime.now(datetime.UTC).date().isoformat())
    stands = moves.champion_version(ledger.entries(night.lake))  # first of all: whoever was as quick must not be overwritten unseen
    target = registry.Model(registry.BASE, None, None) if to == registry.BASE else registry.model(night, to)
    if target.version == stands:
        registry.follow(night)
        return {"champion_version": stands, "moved": False, "why": "it is the champion already", "served": _served(night, target)}
    body = {"version": target.version, "model": target.key, "why": why.strip(), "by": by, "abandoned": stands}
    entry = registry.move(night, "rollback", body, stands)
    log.info("%s: the champion is %s, no longer %s", usecase, target.version or "the base model", stands or "the base model")
    found = {"champion_version": target.version, "moved": True, "why": why.strip(), "entry": entry.seq, "served": _served(night, target)}
    if found["served"] is not None:
        ledger.append(night.lake, night.night, "served", {"version": target.version, "served": found["served"], "rollback": entry.hash})
    return found


def _served(night: Night, target: registry.Model) -> bool | None:
    """Whether the endpoint answers with the model by now; None where none is named, none is up, or it serves another use case."""
    import requests

    url = night.profile.serving.rstrip("/")
    deadline = time.monotonic() + SERVED_SECONDS
    while url:
        try:
            said = requests.get(f"{url}/health", timeout=5).json()
        except (requests.RequestException, ValueError) as error:
            log.warning("%s does not answer (%s): whatever serves the champion there takes it up when it starts", url, type(error).__name__)
            return None
        if not isinstance(said, dict) or said.get("usecase") != night.usecase.name:
            return None
        if said.get("champion") == target.key:
            return True
        if time.monotonic() > deadline:
            log.warning("%s still serves version %s", url, said.get("version"))
            return False
        time.sleep(1)
    return None
