"""Admissions of judges, kept in the ledger: who may be read by the gate on which night, and why not.

A judge is known by the hash of its members (model, prompt, parameters). The newest entry that concerns it decides: an
`admission` (passed or refused, with its figures and its expiry) or a `suspension` (its frozen anchors moved).
"""

from collections.abc import Iterable
from typing import NamedTuple

from pipelines.foundation import ledger
from pipelines.foundation.lake import Lake
from pipelines.foundation.ledger import Entry


class Standing(NamedTuple):
    """What is known of a judge on a night."""

    admitted: bool
    why: str  # one sentence
    body: dict | None  # of its newest admission: judge, name, figures, correction, expires, ...
    entry: str  # hash of the ledger entry that decides; empty where there is none
    suspended: bool
    night: str = ""  # of that entry


def standing(chain: Iterable[Entry], judge: str, night: str) -> Standing:
    """Where a judge stands on a night, by the newest entry; never calibrated means not admitted.

    What later nights found by themselves does not count, so that a repeated night decides the same again; what a person
    calibrated counts for every night that runs after it.
    """
    body, entry, written = None, "", ""
    suspension = None
    for found in chain:
        by_itself = found.kind == "suspension" or found.body.get("nightly", False)
        if found.body.get("judge") != judge or (by_itself and found.night > night):
            continue
        if found.kind == "admission":
            body, entry, written, suspension = found.body, found.hash, found.night, None
        elif found.kind == "suspension":
            suspension, entry, written = found, found.hash, found.night
    if body is None:
        return Standing(False, "it was never calibrated: `python -m pipelines calibrate --usecase NAME`", None, "", False)
    if suspension is not None:
        return Standing(False, f"suspended on {suspension.night}: {suspension.body['why']}", body, entry, True, written)
    if not body["admitted"]:
        return Standing(False, f"refused: {body['why']}", body, entry, False, written)
    if body["expires"] < night:
        return Standing(False, f"its admission expired on {body['expires']}", body, entry, False, written)
    return Standing(True, f"admitted until {body['expires']}", body, entry, False, written)


def admit(lake: Lake, night: str, body: dict) -> None:
    """Write the outcome of a calibration; `body` holds judge, name, admitted, why, expires, figures and correction."""
    ledger.append(lake, night, "admission", body)


def suspend(lake: Lake, night: str, judge: str, name: str, why: str) -> None:
    """Take an admission back until the judge is calibrated again."""
    # of the admission: a second one on the same night can be taken back for the same reason
    entry = standing(ledger.entries(lake), judge, night).entry
    ledger.append(lake, night, "suspension", {"judge": judge, "name": name, "why": why, "admission": entry})
