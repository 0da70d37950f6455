"""A judge measured against people's verdicts: what `calibrate` (a person's command) and `admit` (the nightly step) both do.

A judge's labelled rows and the probes are put to it, its agreement is measured, and the outcome goes to the ledger as an
admission or a refusal, with its expiry and its anchors: labelled items whose verdicts are frozen, to be judged again
every night. Where the questions themselves failed (no endpoint, no connection) nothing was measured, and nothing is written.
"""

import datetime
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.evaluation import agreement, labelled, probes
from pipelines.evaluation import judge as judges
from pipelines.evaluation.judge import Ruling
from pipelines.evaluation.labelled import Item, Labelled
from pipelines.foundation import admissions, embedded, ledger
from pipelines.foundation.step import Night, fingerprint
from pipelines.sections import Admission, Judge, UseCase

CODE = 1  # of the measuring: another one asks for another calibration
log = logging.getLogger("pipelines.calibrate")


class Declared(NamedTuple):
    """A judge as the use case declares it."""

    judge: Judge
    place: str  # key of the settings


def declared(usecase: UseCase) -> dict[str, Declared]:
    """Judges of the evaluation and graders of the safety tests by name; raises UserError where a name is used twice."""
    found = {name: Declared(judge, f"evaluation.judges.{name}") for name, judge in usecase.evaluation.judges.items()}
    graders = {name: Declared(judge, f"safety.graders.{name}") for name, judge in usecase.safety.graders.items()}
    if twice := sorted(set(found) & set(graders)):
        raise UserError(f"{usecase.folder}/usecase.yaml: {', '.join(twice)} is in evaluation.judges and in safety.graders; rename one")
    return found | graders


def terms(rules: Admission) -> str:
    """Hash of what an admission is measured by besides the labels: the rules and this code."""
    return fingerprint("calibration", CODE, rules.model_dump())


def calibrate_judge(night: Night, name: str, chosen: Declared, nightly: bool = False) -> dict:
    """Measure one judge and write the outcome to the ledger; returns the entry's body. Asked again that night it pays for nothing.

    A suspended judge is asked anew. `nightly` says that the night asked for it and not a person: then a judge that fails
    a probe is refused at once, and the labelled rows are not paid for. Raises UserError for a bad file or prompt.
    """
    judge = chosen.judge
    people = labelled.read(night.usecase, judge)
    body = _identity(night, name, judge, people) | {"nightly": nightly}
    if not people.items:
        return _write(night, body | {"why": f"no labelled rows: {chosen.place}.labelled in {night.usecase.folder}/usecase.yaml"})
    probed = probes.run(night, name, judge, people.items)
    if nightly and probed["replied"] and probed["at_floor"] < probed["asked"]:
        found = {key: probed[key] for key in ("asked", "at_floor", "kinds")}
        why = f"probes: {probed['at_floor']} of {probed['asked']} answers that deserve the floor got it; "
        why += f"`python -m pipelines calibrate --usecase {night.usecase.name}` measures the rest"
        return _write(night, body | {"why": why, "probes": found})
    graded = judges.grade(night, name, judge, [item.question for item in people.items], "label")
    judges.keep(night, name, "label", graded)
    rulings = judges.verdicts(graded, judge)
    failed = [row["unscored"] for row in graded if row["verdict"] is None and row["raw"] is None]
    if len(failed) > judge.admission.max_unscored * len(graded):
        why = f"not measured: {len(failed)} of {len(graded)} questions had no reply (the first: {failed[0][:300]})"
        log.warning("%s: %s", name, why)
        return body | {"why": why}
    measured = _measure(people.items, rulings, judge, probed)
    return _write(night, body | measured)


def anchors(items: Sequence[Item], rulings: Sequence[Ruling], count: int) -> dict[str, str]:
    """The first labelled items by hash that the judge gave a verdict on, with that verdict."""
    verdicts = {ruling.item: ruling.verdict for ruling in rulings}
    names = [item.question.item for item in labelled.by_hash(items) if verdicts[item.question.item] is not None]
    return {name: verdicts[name] for name in names[:count]}


def _measure(items: Sequence[Item], rulings: Sequence[Ruling], judge: Judge, probed: dict) -> dict:
    """Figures, correction and decision; both lists are in the order of the file."""
    each: list[agreement.Verdict] = []
    merged: list[agreement.Verdict] = []
    for (question, gold), ruling in zip(items, rulings, strict=True):
        length = float(len(question.one) - len(question.two) if question.two is not None else len(question.one))
        known = question.item, question.group
        each += [agreement.Verdict(*known, order, verdict, gold, length) for order, verdict in ruling.orders.items()]
        merged.append(agreement.Verdict(*known, "", ruling.verdict, gold, length))
    figures = agreement.measure(each, judge)
    found = {key: probed[key] for key in ("asked", "at_floor", "kinds")}
    decided = agreement.decide(figures, found, judge.admission)
    return {
        "admitted": decided.admitted,
        "why": decided.why,
        "figures": figures,
        "probes": found,
        "correction": agreement.correction(merged, judge),
        "anchors": anchors(items, rulings, judge.admission.anchors),
    }


def _identity(night: Night, name: str, judge: Judge, people: Labelled) -> dict:
    """What is known before anything is asked: the body of a refusal."""
    expires = datetime.date.fromisoformat(night.night) + datetime.timedelta(days=judge.admission.expires_days)
    models = {member: _model(night, member) for member in judge.members}
    own = _family(embedded.NAME)
    warnings = [
        f"{member} ({model}) is of the candidate's family ({own}): it may prefer what its own kin writes"
        for member, model in models.items()
        if _family(model) == own
    ]
    return {
        "judge": judges.identity(night, judge),
        "name": name,
        "admitted": False,
        "why": "",
        "expires": expires.isoformat(),
        "figures": {},
        "probes": {},
        "correction": {},
        "members": judges.members(night, judge),
        "models": models,
        "warnings": warnings,
        "labelled": people.sha256,
        "terms": terms(judge.admission),
        "lifts": "",
        "anchors": {},
    }


def _model(night: Night, member: str) -> str:
    endpoint = night.profile.endpoints.get(member)
    if member == judges.MATCHER or endpoint is None:
        return ""
    return embedded.NAME if endpoint.kind == "embedded" else endpoint.model


def _family(model: str) -> str:
    """The letters that a model's name begins with, without its owner: Qwen/Qwen3-8B is of the family qwen."""
    return re.match(r"[a-z]*", Path(model).name.lower())[0]


def _write(night: Night, body: dict) -> dict:
    """Into the ledger, unless the judge stands exactly so already; an entry that lifts a suspension names it."""
    found = admissions.standing(ledger.entries(night.lake), body["judge"], night.night)
    if found.suspended:
        body |= {"lifts": found.entry}
    if found.suspended or found.body is None or found.body | {"lifts": ""} != body:
        admissions.admit(night.lake, night.night, body)
    log.info("%s: %s, %s", body["name"], "admitted" if body["admitted"] else "refused", body["why"])
    return body
