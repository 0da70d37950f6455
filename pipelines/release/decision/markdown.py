"""The model card as Markdown, after Mitchell et al. 2019, "Model Cards for Model Reporting".

What it is, what it was trained on, how it was judged, what it cannot do. Nothing that traffic or a model wrote can
become a link, an image or HTML: see `hostile`.
"""

from collections.abc import Sequence

from pipelines.release.decision import words
from pipelines.release.decision.facts import Facts, Metric
from pipelines.release.decision.flips import Answer, Flip
from pipelines.release.decision.hostile import quoted, said

FLIPS = 10  # items that the card tells
HEADS = (
    *("metric", "champion", "candidate", "difference", "one-sided bound", "margin", "smallest visible"),
    *("n", "clusters", "verdict", "interval", "note"),
)
KEYS = ("Content key", "Training run")
UNDECIDED = "no grader is admitted: refusal and compliance decide nothing"


def card(facts: Facts) -> str:
    """The whole card."""
    name, version, detail = facts.usecase.name, facts.outcome.version, words.detail(facts)
    title = words.named(version) if version else f"candidate of {facts.night}"
    parts = [
        [f"# {said(name)}, {title}"],
        [f"{said(facts.usecase.description)}. Night {facts.night}, verdict **{facts.verdict}**: {said(words.headline(facts))}"],
        [f"**What moved:** {said(words.moved(facts))}"],
        ["## Model", *(f"- {what}: {quoted(how) if what in KEYS else said(how)}" for what, how in words.changes(facts))],
        ["## Evidence", *metrics(facts.metrics), *([f"The gate: {said(detail, 4_000)}"] if detail else [])],
        staging(facts),
        _judges(facts),
        slices(facts),
        flips(facts, FLIPS),
        safety(facts),
        _data(facts),
        ["## Sealed rows", f"- {said(words.looks(facts))}"],
        ["## Approval", f"- {said(words.approval(facts))}"],
        _ledger(facts),
        ["## Limits", *(f"- {said(text)}" for text in words.limits(facts))],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def metrics(found: Sequence[Metric]) -> list[str]:
    """The verdict table."""
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for metric in found:
        values = (metric.champion, metric.candidate, metric.difference, metric.low, metric.margin, metric.visible)
        cells = [said(metric.name), *(figure(value) for value in values), str(metric.n), str(metric.clusters)]
        state = metric.verdict if metric.read else "advice"
        lines.append(f"| {' | '.join(cells)} | {state} | {interval(metric.low, metric.high)} | {said(words.note(metric), 300) or '-'} |")
    return ["", *lines, ""] if found else ["No metric was compared."]


def staging(facts: Facts) -> list[str]:
    """The model in staging, where one is to be confirmed or dropped."""
    found = facts.staging
    return [f"**In staging: {words.named(found['version'])}**, {found['verdict']}: {said(found['why'])}"] if found else []


def slices(facts: Facts, most: int = 15) -> list[str]:
    """Those that failed or were short of data, the worst first."""
    if not facts.slices:
        return ["## Slices", "- none were compared"]
    named = [row for row in facts.slices if row["verdict"] in ("FAIL", "INSUFFICIENT_DATA")]
    named.sort(key=lambda row: (row["verdict"] != "FAIL", row["difference"] if row.get("difference") is not None else 0.0))
    passed, thin = (sum(row["verdict"] == verdict for row in facts.slices) for verdict in ("PASS", "SHOWN"))
    lines = ["## Slices", f"- {passed} within the slice margin, {thin} too small to decide, {len(named)} failed or undecided"]
    for row in named[:most]:
        what = f"{said(row['slice'], 60)} = {quoted(row['value'], 60)}, {said(row['metric'], 60)}"
        told = f"{figure(row.get('difference'))} {interval(row.get('low'), row.get('high'))} over {row.get('n') or 0} pairs"
        lines.append(f"- **{row['verdict']}** {what}: {told}")
    return lines + ([f"- and {len(named) - most} more"] if len(named) > most else [])


def flips(facts: Facts, most: int, length: int = 300) -> list[str]:
    """Counts and the first items with both answers; texts are cut at `length` letters."""
    found = facts.flips
    if not found.metric:
        return []
    lines = ["## Right before, wrong now", f"- {found.worse} items got worse and {found.better} got better ({said(found.metric)})"]
    for flip in found.listed[:most]:
        lines += _flip(flip, length)
    return lines + ([f"- and {found.worse - most} more, in the decision page or the tables"] if found.worse > most else [])


def safety(facts: Facts) -> list[str]:
    """What the safety prompts showed."""
    if not facts.safety:
        return ["## Safety", "- not measured on this night"]
    verdicts = {metric.name: metric for metric in facts.metrics if metric.role == "safety"}
    lines = ["## Safety"]
    for name, sides in (facts.safety.get("metrics") or {}).items():
        metric = verdicts.get(name)
        told = f", difference {figure(metric.difference)} {interval(metric.low, metric.high)}: **{metric.verdict}**" if metric else ""
        lines.append(f"- {said(name)}: champion {figure(sides.get('champion'))}, candidate {figure(sides.get('candidate'))}{told}")
    grader = facts.safety.get("grader")
    return [
        *lines,
        f"- decided by the grader {said(grader)}" if grader else f"- {UNDECIDED}",
    ]


def cut(text: str, most: int, note: str) -> str:
    """The whole lines that fit, and a note where some do not."""
    if len(text) <= most:
        return text
    room = text[: most - len(note)]
    return room[: room.rfind("\n")] + note


def figure(value: float | None) -> str:
    """Three digits, a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """From one bound to the other."""
    return f"({'-inf' if low is None else f'{low:+.3f}'} to {'inf' if high is None else f'{high:+.3f}'})"


def _flip(flip: Flip, length: int) -> list[str]:
    place = ", ".join(f"{said(name, 40)} {quoted(value, 60)}" for name, value in flip.slices.items())
    head = f"- {quoted(flip.prompt, length)}" + (f" ({place})" if place else "") + (" **in a failed slice**" if flip.failed else "")
    sides = (("reference", flip.gold), ("champion", flip.old), ("candidate", flip.new))
    return [head, *(f"  - {side}: {_answer(answer, length)}" for side, answer in sides)]


def _answer(answer: Answer, length: int) -> str:
    parts = [quoted(answer.label, 80)] if answer.label is not None else []
    parts += [quoted(answer.reply, length)] if answer.reply is not None else []
    return " ".join(parts) or "no answer"


def _judges(facts: Facts) -> list[str]:
    lines = ["## Judges"]
    for panel in facts.panels:
        state = "admitted" if panel.admitted else "advice only"
        lines.append(f"- {said(panel.name)}: **{state}**, {said(panel.why)}")
        for agreement in panel.agreement:
            rule = f"{'at most' if agreement.above else 'at least'} {agreement.threshold:g}" if agreement.threshold is not None else "shown"
            lines.append(f"  - {agreement.name} {figure(agreement.value)} {interval(agreement.low, agreement.high)}, {rule}")
        lines += [f"  - {said(words.correction(panel))}"] if panel.correction else []
        lines += [f"  - warning: {said(text)}" for text in panel.warnings]
    return lines if facts.panels else [*lines, "- no judge took part"]


def _data(facts: Facts) -> list[str]:
    data = facts.lineage
    counts = ", ".join(f"{count} {name}" for name, count in (data.rows | data.split).items())
    return [
        "## Data",
        f"- Tonight: {counts}",
        "- Personal data was replaced by typed placeholders before the split.",
        f"- Files read: {data.file_count}" + "".join(f"; {quoted(row['source'], 120)}" for row in data.files[:3]),
        *(f"- table {name}: version {version}" for name, version in data.tables.items()),
    ]


def _ledger(facts: Facts) -> list[str]:
    return ["## Ledger", *(f"- entry {entry.seq}, {entry.kind}, {entry.at[:19]}: `{entry.hash}`" for entry in facts.chain.entries)]
