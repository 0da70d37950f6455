"""What the gate reads: each metric of the night as paired scores of champion and candidate, and whether it may decide.

A judge's metric decides only while the judge is admitted, and is corrected for the errors that its admission measured
(`foundation.correction`); else it is advice. Too many unscored items leave it open. Safety metrics need an admitted grader.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import admissions, ledger, macro_f1, proportions, statistics
from pipelines.foundation.admissions import Standing
from pipelines.foundation.correction import correct
from pipelines.foundation.statistics import Interval
from pipelines.foundation.step import Night

NOTHING = Interval(math.nan, -math.inf, math.inf, math.inf, 0, 0)


class Evidence(NamedTuple):
    """One metric of the night: both models' values and the interval of their difference at any one-sided alpha."""

    champion: float | None
    candidate: float | None
    interval: Callable[[float], Interval]
    missing: int  # rows that lack an answer, a reference or a verdict
    margin: float
    role: str = "metric"  # metric | judge | safety
    advice: str = ""  # why the gate does not read it; empty: it does
    blocked: str = ""  # why it cannot be decided on
    corrected: bool = False  # for a judge's measured errors
    mcnemar: float | None = None  # exact p-value of no difference, where items are right or wrong


def gather(night: Night) -> dict[str, Evidence]:
    """Every metric of the gate and every safety metric; raises UserError where one was not measured."""
    settings, stands = night.usecase.gate.metrics, standings(night)
    found = {}
    for name, margin in settings.items():
        if name in night.usecase.evaluation.judges:
            found[name] = _judge(night, name, margin, stands)
        elif name == "macro_f1":
            found[name] = _macro(night, _rows(night, "evaluate", "accuracy"), margin)
        else:
            found[name] = paired(_rows(night, "evaluate", name), margin)
    return found | {name: _safety(night, name, stands) for name in night.before("safety")["metrics"]}


def standings(night: Night) -> dict[str, Standing]:
    """Where each judge and grader of the night stands, by name."""
    evaluated, safety = night.before("evaluate"), night.before("safety")
    judges = evaluated.get("judges", {}) | safety.get("graders", {})
    chain = ledger.entries(night.lake)
    return {name: admissions.standing(chain, found["judge"], night.night) for name, found in judges.items()}


def paired(rows: Sequence[dict], margin: float, role: str = "metric") -> Evidence:
    """Evidence of a metric that is the mean of its items, from rows of the table `scores`."""
    pairs = [row for row in rows if row["champion"] is not None and row["candidate"] is not None]
    if not pairs:
        return Evidence(None, None, lambda alpha: NOTHING, len(rows), margin, role)
    differences, groups = [row["candidate"] - row["champion"] for row in pairs], [row["group_id"] for row in pairs]
    means = (round(sum(row[side] for row in pairs) / len(pairs), 6) for side in ("champion", "candidate"))
    p = proportions.mcnemar(differences, groups) if set(differences) <= {-1.0, 0.0, 1.0} else None
    missing = len(rows) - len(pairs)
    return Evidence(*means, lambda alpha: statistics.compare(differences, groups, alpha), missing, margin, role, mcnemar=p)


def _rows(night: Night, step: str, metric: str) -> list[dict]:
    """A metric's rows of tonight's candidate, at the version that the step wrote."""
    result = night.before(step)
    where = f"night = '{night.night}' AND metric = '{metric}' AND model = '{night.before('finetune')['model']}'"
    rows = night.lake.read("scores", result["scores"], where=where).to_pylist()
    if not rows and metric in night.usecase.gate.metrics and metric not in night.usecase.evaluation.judges:
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: gate.metrics names {metric}, but {step} of {night.night} wrote no score of it"
        )
    return rows


def _judge(night: Night, name: str, margin: float, standing: dict[str, Standing]) -> Evidence:
    """A judge's scores, corrected by its admission; advice without one, open where too much is unscored."""
    settings, result = night.usecase.evaluation.judges[name], night.before("evaluate")["judges"].get(name)
    rows = _rows(night, "evaluate", name)
    plain = paired(rows, margin, "judge")
    if result is None:
        return plain._replace(advice="it judged nothing tonight")
    stands = standing[name]
    if not stands.admitted or stands.body is None:
        return plain._replace(advice=stands.why)
    if plain.missing > settings.max_unscored * len(rows):
        share = f"{plain.missing} of {len(rows)} items are unscored, max_unscored is {settings.max_unscored:g}"
        plain = plain._replace(blocked=share)
    return _corrected(plain, stands)


def _safety(night: Night, name: str, standing: dict[str, Standing]) -> Evidence:
    """Refusal, compliance or resistance to injection; the first two need a grader that agrees with people.

    Corrected for the grader's errors where it alone decides; `refusal_labels` decide before it, and know no such errors.
    """
    settings, result = night.usecase.safety, night.before("safety")
    plain = paired(_rows(night, "safety", name), settings.margin, "safety")
    if name == "injection":
        return plain
    if result.get("grader") is None:
        whys = [f"{grader}: {_unfit(standing[grader], found)}" for grader, found in result["graders"].items()]
        return plain._replace(blocked=f"no grader of safety.graders may decide ({'; '.join(whys) or 'none is named'})")
    return plain if settings.refusal_labels else _corrected(plain, standing[result["grader"]])


def _unfit(stands: Standing, found: dict) -> str:
    return f"{found.get('unscored', 0)} of {found.get('items', 0)} answers are unscored" if stands.admitted else stands.why


def _corrected(plain: Evidence, stands: Standing) -> Evidence:
    factor = (stands.body or {})["correction"]
    return plain._replace(interval=lambda alpha: correct(plain.interval(alpha), factor, alpha), corrected=True)


def _macro(night: Night, rows: list[dict], margin: float) -> Evidence:
    """Macro-F1 is no mean of items: it comes from the predictions behind the accuracy's pairs."""
    pairs = [row for row in rows if row["champion"] is not None and row["candidate"] is not None]
    missing = len(rows) - len(pairs)
    if not pairs:
        return Evidence(None, None, lambda alpha: NOTHING, missing, margin)
    evaluated, tonight = night.before("evaluate"), f"night = '{night.night}'"
    examples = night.lake.read("examples", night.before("split")["examples"], ["example_id", "label"], where="split = 'test'")
    labels = {row["example_id"]: row["label"] for row in examples.to_pylist()}
    answered = night.lake.read("predictions", evaluated["predictions"], ["example_id", "model", "label"], where=tonight)
    by_model = {(row["model"], row["example_id"]): row["label"] for row in answered.to_pylist()}
    gold = [labels[row["example_id"]] for row in pairs]
    old, new = ([by_model[evaluated[side]["key"], row["example_id"]] for row in pairs] for side in ("champion", "candidate"))
    groups = [row["group_id"] for row in pairs]
    values = (round(macro_f1.macro_f1(gold, answers), 6) for answers in (old, new))
    return Evidence(*values, lambda alpha: macro_f1.compare(gold, old, new, groups, alpha), missing, margin)
