"""Who may judge tonight: `python -m pipelines admit --usecase support --night 2026-11-20`.

A judge that was never measured, or whose admission expired or stands on other labels or rules, is calibrated now. An
admitted one judges its anchors again: the same labelled items every night, whose verdicts were frozen at its admission.
The texts and the prompt are the same, so a changed verdict is the judge's doing and never the candidate's. A suspended
judge stays suspended until a person calibrates it.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.evaluation import judge as judges
from pipelines.evaluation import labelled
from pipelines.evaluation.calibration import Declared, calibrate_judge, declared, terms
from pipelines.evaluation.judge import MATCHER, Ruling
from pipelines.foundation import admissions, ledger, proportions, statistics
from pipelines.foundation.admissions import Standing
from pipelines.foundation.step import Night, step
from pipelines.sections import Judge

CHANGE = 0.05  # one-sided level at which the share of changed verdicts is above the tolerance
MOVE = 0.005  # one-sided level at which the mean score has moved: 99 % two-sided
NONE = {"asked": 0, "changed": 0, "suspended": False}
log = logging.getLogger("pipelines.admit")


class Checked(NamedTuple):
    """The nightly check of one judge's anchors."""

    asked: int  # anchors with a reply tonight
    changed: int
    blame: str  # why the judge is suspended; empty: it is not


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings: prompts and endpoints, labels, and what a person decided since.

    The entries that this step writes itself do not count, so that a repeated night finds its result again.
    """
    found = declared(night.usecase)
    known = [(judges.identity(night, chosen.judge), labelled.read(night.usecase, chosen.judge).sha256) for chosen in found.values()]
    concerned = {judge for judge, _ in known}
    calibrations = [
        entry.hash
        for entry in ledger.entries(night.lake)
        if entry.kind == "admission" and entry.body["judge"] in concerned and not entry.body["nightly"]
    ]
    return {"judges and labels": known, "calibrations": calibrations}


@step(code=1, sections=("evaluation", "safety"), extra=_inputs)
def admit(night: Night) -> dict:
    """Calibrate or check every judge and grader; raises UserError for a bad file of labels or a prompt without placeholders."""
    found = {}
    for name, chosen in declared(night.usecase).items():
        key, anchors = judges.identity(night, chosen.judge), NONE
        stands = admissions.standing(ledger.entries(night.lake), key, night.night)
        why = ""
        if _due(night, stands, chosen):
            why = calibrate_judge(night, name, chosen, nightly=True)["why"]
        elif stands.suspended and stands.night == night.night:
            anchors = {**_told(night, name, chosen.judge, stands), "suspended": True}
        elif stands.admitted and not _measured(stands, night) and set(chosen.judge.members) != {MATCHER}:
            checked = _check(night, name, chosen.judge, stands)
            anchors = {"asked": checked.asked, "changed": checked.changed, "suspended": bool(checked.blame)}
            if checked.blame:
                admissions.suspend(night.lake, night.night, key, name, checked.blame)
        stands = admissions.standing(ledger.entries(night.lake), key, night.night)
        found[name] = {
            "judge": key,
            "admitted": stands.admitted,
            "why": stands.why if stands.body else why or stands.why,
            "expires": stands.body["expires"] if stands.body else "",
            "anchors": anchors,
        }
        log.info("%s: %s", name, found[name]["why"])
    return {"judges": found, "judgements": night.lake.version("judgements")}


def _due(night: Night, stands: Standing, chosen: Declared) -> bool:
    """Whether the judge has to be measured now; a suspension is lifted by a person alone, a refusal stands until it expires."""
    if stands.suspended:
        return False
    body = stands.body
    if body is None or body["expires"] < night.night:
        return True
    return (body["labelled"], body["terms"]) != (labelled.read(night.usecase, chosen.judge).sha256, terms(chosen.judge.admission))


def _measured(stands: Standing, night: Night) -> bool:
    """Whether an earlier try of this very night has measured the judge: it is not asked again."""
    return stands.night == night.night and bool(stands.body and stands.body.get("nightly"))


def _told(night: Night, name: str, judge: Judge, stands: Standing) -> dict[str, int]:
    """What an earlier try of this night, which suspended the judge, had found on its anchors."""
    where = f"night = '{night.night}' AND purpose = 'anchor' AND judge = '{name}'"
    rows = night.lake.read("judgements", night.lake.version("judgements"), where=where).to_pylist()
    rulings = [ruling for ruling in judges.verdicts(rows, judge) if not ruling.failed]
    return {"asked": len(rulings), "changed": sum(ruling.verdict != stands.body["anchors"][ruling.item] for ruling in rulings)}


def _check(night: Night, name: str, judge: Judge, stands: Standing) -> Checked:
    """Judge the anchors again and compare with what was frozen; an anchor that got no reply says nothing of the judge."""
    frozen: dict[str, str] = stands.body["anchors"]
    questions = [item.question for item in labelled.read(night.usecase, judge).items if item.question.item in frozen]
    graded = judges.grade(night, name, judge, questions, "anchor")
    judges.keep(night, name, "anchor", graded)
    rulings = [ruling for ruling in judges.verdicts(graded, judge) if not ruling.failed]
    changed = sum(ruling.verdict != frozen[ruling.item] for ruling in rulings)
    blame = _blame(rulings, frozen, changed, judge) if rulings else ""
    return Checked(len(rulings), changed, blame)


def _blame(rulings: Sequence[Ruling], frozen: dict[str, str], changed: int, judge: Judge) -> str:
    """Why the judge is no longer the one that was admitted; empty where the anchors do not show it."""
    tolerance, whys = judge.admission.anchor_tolerance, []
    low = proportions.wilson(changed, len(rulings), CHANGE).low
    if low > tolerance:
        whys.append(
            f"{changed} of {len(rulings)} anchors got another verdict than at the admission: "
            f"at least {low:.0%} of all would (95 %), anchor_tolerance is {tolerance:.0%}"
        )
    scored = [ruling for ruling in rulings if ruling.verdict is not None]
    if scored:
        moved = [_score(ruling.verdict, judge) - _score(frozen[ruling.item], judge) for ruling in scored]
        interval = statistics.compare(moved, [ruling.group for ruling in scored], MOVE)
        if interval.low > 0 or interval.high < 0:
            whys.append(
                f"the mean score of {interval.n} anchors moved by {interval.difference:+.2f} "
                f"(99 % interval {interval.low:+.2f} to {interval.high:+.2f}, on the scale from 0 to 1)"
            )
    return "; ".join(whys)


def _score(verdict: str, judge: Judge) -> float:
    """A verdict from 0 to 1: output 1 is better, or the highest grade."""
    if judge.kind == "pairwise":
        return {"1": 1.0, "tie": 0.5, "2": 0.0}[verdict]
    low, high = judge.grades
    return (int(verdict) - low) / (high - low)
