"""The evidence on the decision page: metrics, judges, slices and safety, each as a picture and as numbers."""

from collections.abc import Sequence

from pipelines.release.decision import plots, words
from pipelines.release.decision.facts import Facts, Metric
from pipelines.release.decision.hostile import html
from pipelines.release.decision.panels import Agreement, Panel
from pipelines.release.decision.parts import chip, facts_table, interval, number, row, signed, table, typeset
from pipelines.sections import Gate

SLICES_OPEN = 12  # undecided and passed slices that are shown without a click


def metrics(facts: Facts) -> str:
    """The differences on one axis, and every figure in a table."""
    if not facts.metrics:
        return "<p>No metric was compared.</p>"
    level = f"{100 * (1 - 2 * facts.alpha):.4g} %"
    axis = plots.forest_axis(facts.metrics)
    rows = [row(_named(metric), plots.strip(plots.margin_mark(metric), axis), _told(metric)) for metric in facts.metrics]
    foot = row("", plots.scale(axis, plots.forest_ticks(axis)), "difference, its interval", "foot")
    legend = (
        '<ul class="legend"><li><i class="beyond"></i>worse than the margin allows</li><li><i class="zero"></i>no difference</li>'
        f'<li>bar: two-sided {html(level)} interval</li><li><i class="hollow"></i>hollow: advice, not read by the gate</li></ul>'
    )
    said = (
        "Candidate minus champion, each in units of its own margin, so that metrics of different units share one axis. "
        "Right is better; a metric passes when its whole bar lies right of the shaded side."
    )
    figure = f'<div class="panel"><p class="quiet">{said}</p>{"".join(rows)}{foot}{legend}</div>'
    return figure + _figures(facts.metrics) + _staging(facts.staging)


def _named(metric: Metric) -> str:
    return f"{html(metric.name)} {chip(metric.verdict if metric.read else 'advice', words.verdict(metric))}"


def _told(metric: Metric) -> str:
    if metric.difference is None:
        return f"too few pairs ({metric.n})"
    return f"<b>{signed(metric.difference)}</b> {interval(metric.low, metric.high)}"


def _figures(found: Sequence[Metric]) -> str:
    heads = ["metric", "#champion", "#candidate", "#difference", "#interval", "#margin", "#smallest visible", "#pairs", "#groups", "note"]
    rows = [
        [
            html(metric.name),
            *(number(value) for value in (metric.champion, metric.candidate)),
            signed(metric.difference),
            interval(metric.low, metric.high),
            number(metric.margin),
            number(metric.visible),
            f"{metric.n:,}",
            f"{metric.clusters:,}",
            html(words.note(metric)),
        ]
        for metric in found
    ]
    return table(heads, rows)


def _staging(found: dict) -> str:
    """The model in staging on its fresh rows."""
    if not found:
        return ""
    kind = {"CONFIRM": "PASS", "DROP": "FAIL"}.get(found["verdict"], "INSUFFICIENT_DATA")
    rows = [
        [
            html(name),
            chip(row["verdict"] if row["verdict"] != "WAIT" else "INSUFFICIENT_DATA", row["verdict"]),
            signed(row["difference"]),
            interval(row["low"], row["high"]),
            number(row["margin"]),
            f"{row['n']:,}",
        ]
        for name, row in (found.get("metrics") or {}).items()
    ]
    told = f"In staging since {found['since']}: {words.named(found['version'])}"
    body = f"<h3>{html(told)} {chip(kind, found['verdict'])}</h3><p>{typeset(words.sentence(found['why']))}</p>"
    return body + (table(["metric", "verdict", "#difference", "#confidence sequence", "#margin", "#fresh groups"], rows) if rows else "")


def judges(facts: Facts) -> str:
    """A panel a judge: whether it is read and why, its agreement with people, its correction, its warnings."""
    return "".join(_judge(panel) for panel in facts.panels) or "<p>No judge took part.</p>"


def _judge(panel: Panel) -> str:
    state = chip("PASS", "admitted") if panel.admitted else chip("advice", "advice only")
    kind = ", grader of safety" if panel.grader else ""
    body = f"<h3>{html(panel.name)}{kind} {state}</h3><p>{html(words.sentence(panel.why))}</p>"
    body += "".join(f'<p class="warn">{html(text)}</p>' for text in panel.warnings)
    if panel.agreement:
        axis = plots.agreement_axis(panel.agreement)
        rows = [row(html(figure.name), plots.strip(plots.agreement_mark(figure), axis), _bounded(figure)) for figure in panel.agreement]
        ticks = [(value / 5, f"{value / 5:g}".replace("-", "−")) for value in range(-5, 6)]
        body += "".join(rows) + row("", plots.scale(axis, ticks), "against people’s verdicts", "foot")
    else:
        body += '<p class="quiet">Its agreement with people was never measured.</p>'
    counts = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in panel.counts.items())
    known = [
        ("Correction", html(words.correction(panel)) if panel.correction else ""),
        ("Tonight", html(counts)),
        ("Anchors", html(_anchors(panel.anchors)) if panel.anchors else ""),
        ("Probes", html(f"{panel.probes.get('at_floor')} of {panel.probes.get('asked')} got the lowest verdict") if panel.probes else ""),
        ("Judge", f"{html(', '.join(panel.models))} <code>{html(panel.judge)}</code>" if panel.judge else ""),
        ("Decided by", f"ledger entry {panel.seq or ''} <code>{html(panel.entry)}</code>" if panel.entry else ""),
    ]
    return f'<div class="panel">{body}{facts_table([(name, text) for name, text in known if text])}</div>'


def _bounded(figure: Agreement) -> str:
    rule = f"{'at most' if figure.above else 'at least'} {figure.threshold:g}" if figure.threshold is not None else ""
    spread = "" if figure.low is None and figure.high is None else f"{number(figure.low, 2)} to {number(figure.high, 2)}; "
    return f"<b>{number(figure.value, 2)}</b> {spread}{rule}"


def _anchors(anchors: dict) -> str:
    told = f"{anchors.get('asked', 0)} judged again, {anchors.get('changed', 0)} changed"
    return told + ("; the admission was suspended" if anchors.get("suspended") else "")


def slices(facts: Facts) -> str:
    """Failed slices first; the many that passed after a click."""
    if not facts.slices:
        return "<p>No slices were compared (evaluation.slices).</p>"
    order = {"FAIL": 0, "INSUFFICIENT_DATA": 1, "PASS": 2, "SHOWN": 3}
    ordered = sorted(facts.slices, key=lambda row: (order.get(row["verdict"], 1), _difference(row)))
    failed = sum(row["verdict"] == "FAIL" for row in ordered)
    decided = sum(row["verdict"] != "SHOWN" for row in ordered)
    gate = facts.usecase.gate
    told = (
        f"{failed} of {decided} slices with at least {gate.slice_min_items} pairs are shown worse than the slice margin of "
        f"{gate.slice_margin:g}; one such slice is enough to reject."
    )
    first = failed + SLICES_OPEN
    body = f"<p>{html(told)}</p>{_slice_table(ordered[:first], gate)}"
    if rest := ordered[first:]:
        body += f'<details class="more"><summary>{len(rest)} more slices</summary>{_slice_table(rest, gate)}</details>'
    return body


def _difference(row: dict) -> float:
    return row["difference"] if row.get("difference") is not None else 0.0


def _slice_table(rows: Sequence[dict], gate: Gate) -> str:
    axis = plots.slice_axis(rows)
    cells = [
        [
            f"{html(found['slice'], 60)}<br><b>{html(found['value'], 80)}</b>",
            html(found["metric"], 60),
            chip("advice" if found["verdict"] == "SHOWN" else found["verdict"], words.MARKS.get(found["verdict"], found["verdict"])),
            plots.strip(plots.slice_mark(found, gate.slice_margin), axis, bar=True),
            signed(found.get("difference")),
            *(number(found.get(side)) for side in ("champion", "candidate")),
            f"{found.get('n') or 0:,}",
        ]
        for found in rows
    ]
    ticks = [(value, signed(value, 1) if value else "0") for value in (axis.low, 0.0, axis.high)]
    cells.append(["", "", "", plots.scale(axis, ticks), "", "", "", ""])
    return table(["slice", "metric", "verdict", "~interval", "#difference", "#champion", "#candidate", "#pairs"], cells)


def safety(facts: Facts) -> str:
    """Refusal, compliance and resistance to injection of both models, and who says so."""
    if not facts.safety:
        return "<p>Safety was not measured on this night.</p>"
    judged = {metric.name: metric for metric in facts.metrics if metric.role == "safety"}
    meaning = {
        "refusal": "unsafe prompts that are refused",
        "compliance": "safe prompts that are answered",
        "injection": "planted instructions that are not followed",
    }
    rows = []
    for name, found in (facts.safety.get("metrics") or {}).items():
        metric = judged.get(name)
        verdict = chip(metric.verdict if metric.read else "advice", words.verdict(metric)) if metric else ""
        sides = [number(found.get(side)) for side in ("champion", "candidate")]
        told = [signed(metric.difference), interval(metric.low, metric.high), f"{metric.n:,}"] if metric else ["–"] * 3
        rows.append([f"<b>{html(name)}</b><br>{html(meaning.get(name, ''))}", verdict, *sides, *told])
    grader = facts.safety.get("grader")
    told = (
        f"Refusal and compliance are decided by the grader {grader}."
        if grader
        else "No grader is admitted: refusal and compliance decide nothing."
    )
    heads = ["what", "verdict", "#champion", "#candidate", "#difference", "#interval", "#pairs"]
    rule = "A candidate that is shown worse at all is rejected."
    return f"<p>{html(told)} {rule}</p>{table(heads, rows)}"
