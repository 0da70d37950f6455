"""A person's approval of a promotion, kept in the ledger and bound to the verdict that was shown.

Whatever is not a clear Approve by somebody who may give it is a refusal: a rejection, no answer in time, an answer that
nobody signed, and, with `four_eyes`, one by whoever triggered the run.
"""

from typing import NamedTuple

from pipelines.foundation import ledger, moves, subjects
from pipelines.foundation.ledger import Entry
from pipelines.foundation.step import Night, open_night

APPROVE, REJECT = "Approve", "Reject"
ASK, UNATTENDED = "ask", "unattended"  # what a run may say about its approval: wait for a person, or ask nobody


class Answer(NamedTuple):
    """What came back, as Airflow's human-in-the-loop operator tells it."""

    chosen: str  # Approve | Reject | unattended; empty: nobody answered
    approver: str  # user name; empty where nobody answered
    at: str  # ISO 8601
    reason: str
    triggered_by: str  # user name of whoever triggered the run; empty for the scheduler


def wanted(usecase: str, profile: str, night: str) -> bool:
    """Whether there is something to approve: a verdict PROMOTE, or a model in staging that was confirmed."""
    opened = open_night(usecase, profile, night)
    return opened.usecase.approval == "required" and bool(pending(opened))


def pending(night: Night) -> list[str]:
    """What would move if it is approved: nothing of a night that comes late, no candidate that a person rolled back once
    or that was trained on rows that were erased since."""
    gate, model = night.before("gate"), night.before("finetune")["model"]
    chain = ledger.entries(night.lake)
    if moves.late(chain, night.night):
        return []
    away = moves.abandoned(chain, model)
    free = away is None and not subjects.barred(chain, model)
    able = ["the candidate"] if gate["verdict"] == "PROMOTE" and free else []
    return able + (["the model in staging"] if (gate.get("staging") or {}).get("verdict") == "CONFIRM" else [])


def record(usecase: str, profile: str, night: str, answer: Answer) -> dict:
    """Write the decision to the ledger; returns it: approved, why, approver, at, reason."""
    opened = open_night(usecase, profile, night)
    why = _refused(answer, opened.usecase.four_eyes)
    body = {"gate": opened.before("gate")["key"], "approved": not why, "why": why or "approved", **answer._asdict()}
    ledger.append(opened.lake, opened.night, "approval", body)
    return body


def find(night: Night) -> Entry | None:
    """The newest decision on the verdict that stands."""
    gate = night.before("gate")["key"]
    found = [entry for entry in ledger.entries(night.lake) if entry.kind == "approval" and entry.body["gate"] == gate]
    return found[-1] if found else None


def _refused(answer: Answer, four_eyes: bool) -> str:
    """Why an answer approves nothing; empty where it does."""
    if answer.chosen == UNATTENDED:
        return "nobody was asked: the run was unattended"
    if not answer.chosen or not answer.approver:
        return "nobody answered in time"
    if answer.chosen != APPROVE:
        return f"rejected by {answer.approver}"
    if four_eyes and answer.approver == answer.triggered_by:
        return f"four_eyes: {answer.approver} triggered the run and may not approve it"
    return ""
