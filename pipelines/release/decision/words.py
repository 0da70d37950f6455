"""The decision in sentences: the same for the card, the page and the request for approval. Plain text, not yet escaped."""

import re

from pipelines.release.decision.facts import Facts, Metric, Trained
from pipelines.release.decision.panels import Panel

VERDICTS = {
    "PROMOTE": "the evidence allows a promotion",
    "REJECT": "the candidate was shown worse than allowed",
    "INSUFFICIENT_DATA": "the evidence does not suffice to promote",
}
MARKS = {"PASS": "passes", "FAIL": "fails", "INSUFFICIENT_DATA": "undecided", "SHOWN": "shown only"}


def headline(facts: Facts) -> str:
    """The first sentence of the gate's reason."""
    found = re.split(r"(?<=[a-z)\d]\.)\s+(?=[A-Za-z])", facts.reason, maxsplit=1)
    return found[0] or f"{VERDICTS.get(facts.verdict, facts.verdict)}."


def detail(facts: Facts) -> str:
    """What the gate said after its first sentence."""
    return facts.reason[len(headline(facts)) :].strip()


def named(version: str | None) -> str:
    """A version as people call it."""
    return f"version {version}" if version else "the base model"


def sentence(why: str) -> str:
    """A reason that stands on its own."""
    return f"{_upper(why.rstrip('.'))}."


def moved(facts: Facts) -> str:
    """What moved, and what serves now, in one or two sentences."""
    out = facts.outcome
    why = f" ({out.why})" if out.why else ""
    if out.kind == "champion":
        own = "" if out.version == out.champion else " It was confirmed in staging; tonight's candidate stays a candidate."
        return f"{_upper(named(out.champion))} is the champion now, in place of {named(out.before)}.{own}"
    if out.kind == "staging":
        return f"{_upper(named(out.staging))} went to staging; the champion is still {named(out.champion)}."
    if out.kind == "dropped":
        return f"The model in staging was dropped{why}; the champion is still {named(out.champion)}."
    if out.kind == "none":
        return f"Nothing moved{why}. The champion is still {named(out.champion)}."
    if out.kind == "waiting":
        return f"Waiting for approval: nothing moves before a person approves. The champion is still {named(out.before)}."
    return f"Nothing has moved yet. The champion is still {named(out.before)}."


def approval(facts: Facts) -> str:
    """Who answered, when and why, or why nobody was asked."""
    found = facts.approval
    if found is not None:
        who = f"{found.by} at {found.at[:16].replace('T', ' ')} UTC" if found.by else "nobody answered in time"
        told = f"{'Approved' if found.approved else 'Not approved'}: {who}" + (f" (“{found.reason}”)" if found.reason else "")
        refused = f" It does not count: {found.why}." if not found.approved and found.by and not found.why.startswith("rejected") else ""
        return f"{told}.{refused}"
    if facts.usecase.approval == "none":
        return "This use case promotes without a person (approval: none)."
    if facts.outcome.kind == "waiting":
        return "Waiting: this use case wants a person's approval before anything moves."
    return "Nobody was asked: there was nothing to approve."


def verdict(metric: Metric) -> str:
    """A metric's verdict in a word or two."""
    if not metric.read:
        return "advice"
    return "better" if metric.better and metric.verdict == "PASS" else MARKS.get(metric.verdict, metric.verdict)


def note(metric: Metric) -> str:
    """What else must be known to read a metric's row."""
    said = ["" if metric.role == "metric" else metric.role, "corrected for the judge's errors" if metric.corrected else ""]
    said += [f"{metric.missing} missing" if metric.missing else "", metric.why]
    said += [f"exact McNemar p {metric.mcnemar:.2g}" if metric.mcnemar is not None and metric.read else ""]
    return "; ".join(part for part in said if part)


def looks(facts: Facts) -> str:
    """How often the sealed rows were used, and what that did to alpha."""
    if facts.looks is None:
        return f"The looks at the sealed rows were not recorded; alpha {facts.alpha:.4g}."
    told = f"Look {facts.looks} of {facts.planned_looks} planned at these sealed rows; one-sided alpha {facts.alpha:.4g} a metric"
    return told + (f", tightened from {facts.usecase.gate.alpha:g}." if facts.alpha < facts.usecase.gate.alpha else ", as set.")


def correction(panel: Panel) -> str:
    """By how much a judge's differences were stretched."""
    found = panel.correction
    if not found or found.get("value") is None:
        return "no correction is known"
    bounds = "" if found.get("low") is None else f" (from {found['low']:.2f} to {found['high']:.2f})"
    return f"it shrinks a true difference to {found['value']:.2f} of its size{bounds}; a corrected metric is divided by that"


def changes(facts: Facts) -> list[tuple[str, str]]:
    """What differs between candidate and champion, as (what, how)."""
    new, old, tuning = facts.candidate, facts.champion, facts.usecase.tuning
    against = f"{named(facts.outcome.before)}" + (f", trained on {old.night}" if old else "")
    return [
        ("Compared with", against),
        ("Training rows", _rows(new) + (f"; the champion had {_rows(old)}" if old else "")),
        ("Adapter", f"LoRA of rank {tuning.rank} on {facts.base}"),
        ("Content key", facts.model),
        ("Settings", _same(new.settings, old.settings if old else "")),
        ("Code", _same(new.code[:16], old.code[:16] if old else "")),
        ("Training run", facts.run or "not recorded"),
    ]


def limits(facts: Facts) -> list[str]:
    """What the decision does not tell."""
    said = []
    seen = [f"{metric.name} {metric.visible:.3f}" for metric in facts.metrics if metric.visible is not None and metric.read]
    if seen:
        said.append(f"Smaller drops than these may have gone unseen (80 % power): {', '.join(seen)}.")
    if thin := sum(row["verdict"] == "SHOWN" for row in facts.slices):
        said.append(f"{thin} slices have fewer than {facts.usecase.gate.slice_min_items} pairs: they are shown and decided nothing.")
    if advice := [panel.name for panel in facts.panels if not panel.admitted]:
        said.append(f"Judges without an admission are advice only: {', '.join(advice)}.")
    if not facts.safety:
        said.append("Safety was not measured on this night.")
    if facts.looks is not None and facts.looks > facts.planned_looks:
        said.append("The sealed rows were used more often than planned: the next split should seal fresh ones.")
    return [
        *said,
        "A judge's correction assumes that its errors do not depend on which model wrote the answer.",
        "The verdict holds for traffic like the sealed rows; the drift report tells whether tonight's still is.",
        "A 135-million-parameter model unless the profile names another base: check its replies before customers see them.",
    ]


def _rows(trained: Trained) -> str:
    if trained.rows is None:
        return "an unrecorded number"
    return f"{trained.rows:,}" + (f", {trained.synthetic:,} of them synthetic" if trained.synthetic is not None else "")


def _same(new: str, old: str) -> str:
    if not old:
        return new
    return f"{new}, the same as the champion's" if new == old else f"{new}; the champion's were {old}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
