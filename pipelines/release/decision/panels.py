"""The judges of a night as an auditor meets them: how well each agrees with people, whether it is read, and what speaks against it."""

from collections.abc import Sequence
from typing import NamedTuple

from pipelines.foundation import admissions
from pipelines.foundation.ledger import Entry
from pipelines.foundation.step import Night
from pipelines.sections import Admission, UseCase

# Name of a figure, the setting that bounds it, and what of it must hold: the bound that `agreement.decide` reads.
RULES = (
    ("accuracy", "min_accuracy", "low"),
    ("kappa", "min_kappa", "low"),
    ("true positive rate", "min_rate", "low"),
    ("true negative rate", "min_rate", "low"),
    ("order consistency", "min_order_consistency", "value"),
    ("position bias", "max_position_bias", "value"),
    ("length bias", "max_length_correlation", "value"),
    ("unscored share", "max_unscored", "value"),
)
SAME = {
    "true positive rate": "tpr",
    "true negative rate": "tnr",
    "order consistency": "order_consistency",
    "unscored share": "unscored_share",
}
UNKNOWN = {"value": None, "low": None, "high": None}


class Agreement(NamedTuple):
    """One figure of a judge against people's verdicts."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None  # of the settings; None: it is shown only
    above: bool  # the threshold is a greatest value
    holds: bool | None  # None: there is no threshold, or no figure


class Panel(NamedTuple):
    """A judge or a grader on this night."""

    name: str
    grader: bool  # of the safety prompts
    judge: str  # hash of its members
    admitted: bool
    why: str
    expires: str
    agreement: list[Agreement]
    correction: dict | None  # value, low, high: by how much it shrinks a true difference
    models: list[str]  # of its members, where known
    probes: dict  # asked, at_floor: empty answers and the like that must get the lowest verdict
    counts: dict[str, int]  # of the night: items, unscored, ...
    warnings: list[str]
    anchors: dict  # asked, changed, suspended
    entry: str  # hash of the ledger entry that decides
    seq: int | None


def gather(night: Night, done: dict[str, dict], entries: Sequence[Entry]) -> list[Panel]:
    """Every judge and grader that the night knows, those that are read first."""
    gate, evaluated, admitted = (done.get(name, {}).get("judges") or {} for name in ("gate", "evaluate", "admit"))
    graders = done.get("safety", {}).get("graders") or {}
    found = []
    for name in gate | evaluated | admitted | graders:
        told = [source[name] for source in (admitted, evaluated, graders, gate) if isinstance(source.get(name), dict)]
        found.append(_panel(night, name, {key: value for part in told for key, value in part.items() if value is not None}, entries))
    return sorted(found, key=lambda panel: (not panel.admitted, panel.name))


def _panel(night: Night, name: str, told: dict, entries: Sequence[Entry]) -> Panel:
    judge, entry = str(told.get("judge") or ""), str(told.get("entry") or "")
    seq = next((found.seq for found in entries if entry and found.hash == entry), None)
    body = admissions.standing(entries, judge, night.night).body or {}
    counts = {key: value for key, value in told.items() if isinstance(value, int) and not isinstance(value, bool)}
    return Panel(
        name=name,
        grader=name in night.usecase.safety.graders,
        judge=judge,
        admitted=bool(told.get("admitted")),
        why=str(told.get("why") or "nothing is known of its admission"),
        expires=str(told.get("expires") or body.get("expires") or ""),
        agreement=_agreement(body.get("figures") or {}, _rules(night.usecase, name)),
        correction=body.get("correction") or None,
        models=sorted({model for model in (body.get("models") or {}).values() if model}),
        probes=body.get("probes") or {},
        counts=counts,
        warnings=_warnings(told) + _warnings(body),
        anchors=told.get("anchors") or {},
        entry=entry,
        seq=seq,
    )


def _rules(usecase: UseCase, name: str) -> Admission:
    judge = usecase.evaluation.judges.get(name) or usecase.safety.graders.get(name)
    return judge.admission if judge else Admission()


def _agreement(figures: dict, rules: Admission) -> list[Agreement]:
    """The figures that have a rule and a value, in the order of RULES."""
    derived = {"position bias": _position_bias(figures), "length bias": _length_bias(figures)}
    found = []
    for name, setting, bound in RULES:
        figure = derived.get(name) or figures.get(SAME.get(name, name)) or UNKNOWN
        if figure.get("value") is None:
            continue
        threshold, above, read = getattr(rules, setting), setting.startswith("max_"), figure.get(bound)
        holds = None if read is None else (read <= threshold if above else read >= threshold)
        found.append(Agreement(name, figure["value"], figure.get("low"), figure.get("high"), threshold, above, holds))
    return found


def _position_bias(figures: dict) -> dict:
    """How far the share of verdicts for the answer shown first lies from one half, with the interval folded likewise."""
    first = figures.get("first_position_share") or UNKNOWN
    if first["value"] is None:
        return UNKNOWN
    ends = [abs(first[side] - 0.5) for side in ("low", "high") if first[side] is not None]
    straddles = len(ends) == 2 and first["low"] <= 0.5 <= first["high"]
    return {"value": abs(first["value"] - 0.5), "low": 0.0 if straddles else min(ends, default=None), "high": max(ends, default=None)}


def _length_bias(figures: dict) -> dict:
    """How far the verdicts' correlation with length lies from the labels' own; its interval is not known."""
    both = [(figures.get(name) or UNKNOWN)["value"] for name in ("length_correlation", "label_length_correlation")]
    return UNKNOWN if None in both else UNKNOWN | {"value": abs(both[0] - both[1])}


def _warnings(told: dict) -> list[str]:
    """What was said against a judge: that it may prefer its own kind, say."""
    said = [told.get(key) for key in ("warnings", "self_preference")]
    flat = [text for found in said for text in (found if isinstance(found, list) else [found])]
    return [str(text) for text in flat if isinstance(text, str) and text]
