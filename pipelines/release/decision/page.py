"""The decision page: one HTML file a promotion decision, read by an auditor and understood at a glance.

It holds no script, loads nothing, and forbids both; whatever traffic or a model wrote is escaped by `hostile`. The
same page is written when the gate has decided, for whoever approves, and again when the registry has followed.
"""

from pathlib import Path

from pipelines.foundation.step import Night
from pipelines.release.decision import evidence, items, words
from pipelines.release.decision.facts import Facts, gather
from pipelines.release.decision.hostile import html
from pipelines.release.decision.parts import anchor, chip, facts_table, section, table, typeset

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
NAME = "decision.html"
SIGNS = {
    "PROMOTE": "M7 12.5l3.4 3.4L17 8.8",
    "REJECT": "M8.5 8.5l7 7m0-7l-7 7",
    "INSUFFICIENT_DATA": "M9.3 9.6a2.8 2.8 0 1 1 4 2.5c-.9.4-1.3.9-1.3 1.8m0 2.6v.1",
}
SECTIONS = (
    *("What changed", "Metrics", "Judges", "Slices", "Right before, wrong now", "Safety", "Data", "Sealed rows"),
    *("Approval", "Ledger", "Limits"),
)


def write(night: Night) -> Path:
    """Gather the night's facts and write its page; raises UserError where the gate has not decided."""
    return write_page(night, gather(night))


def write_page(night: Night, facts: Facts) -> Path:
    """The page of these facts in the reports folder of the night."""
    path = folder(night) / NAME
    path.write_text(render(facts), encoding="utf-8")
    return path


def folder(night: Night) -> Path:
    """Where the night's reports lie; made where it is missing."""
    found = Path(night.profile.state) / "reports" / night.usecase.name / night.night
    found.mkdir(parents=True, exist_ok=True)
    return found


def render(facts: Facts) -> str:
    """The whole page."""
    title = html(f"{facts.verdict}: {facts.usecase.name}, night {facts.night}")
    style = Path(__file__).with_name("decision.css").read_text(encoding="utf-8")
    bodies = [
        _changes(facts),
        evidence.metrics(facts),
        evidence.judges(facts),
        evidence.slices(facts),
        items.flips(facts),
        evidence.safety(facts),
        _data(facts),
        f"<p>{typeset(words.looks(facts))}</p>",
        f"<p>{html(words.approval(facts))}</p>",
        _ledger(facts),
        "<ul>" + "".join(f"<li>{typeset(text)}</li>" for text in words.limits(facts)) + "</ul>",
    ]
    parts = "\n".join(section(name, body) for name, body in zip(SECTIONS, bodies, strict=True))
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>\n{style}</style>'
    )
    told = f"Nightshift, {facts.usecase.name}; as it stood after ledger entry {facts.chain.length}. Owner: {facts.usecase.owner}."
    footer = f'<footer class="quiet">{html(told)}</footer>'
    body = f"{_banner(facts)}\n{_tiles(facts)}\n{_contents()}\n{parts}\n{footer}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def _banner(facts: Facts) -> str:
    """The verdict in colour, shape and words, its reason, and what moved."""
    sign = SIGNS.get(facts.verdict, SIGNS["INSUFFICIENT_DATA"])
    icon = (
        '<svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
        f'stroke-linejoin="round"><circle cx="12" cy="12" r="10"/><path d="{sign}"/></svg>'
    )
    version = words.named(facts.outcome.version) if facts.outcome.version else "candidate"
    told = f"{facts.usecase.name} · night {facts.night} · {version}"
    rest = words.detail(facts)
    more = f'<details class="more"><summary>The gate’s whole reason</summary><p>{typeset(rest)}</p></details>' if rest else ""
    return (
        f'<header class="banner {html(facts.verdict)}"><p class="eyebrow">{html(told)}</p><h1>{icon}{html(facts.verdict)}</h1>'
        f'<p class="lead">{typeset(words.headline(facts))}</p>'
        f'<p class="moved"><b>What moved:</b> {typeset(words.moved(facts))}</p>{more}</header>'
    )


def _tiles(facts: Facts) -> str:
    """The figures that a busy reader looks for."""
    out, read = facts.outcome, [metric for metric in facts.metrics if metric.read]
    passed, failed = (sum(metric.verdict == verdict for metric in read) for verdict in ("PASS", "FAIL"))
    bad = sum(row["verdict"] == "FAIL" for row in facts.slices)
    tested = sum(row["verdict"] != "SHOWN" for row in facts.slices)
    admitted = sum(panel.admitted for panel in facts.panels)
    tiles = [
        ("Candidate", words.named(out.version) if out.version else "not registered", ""),
        ("Champion now", words.named(out.champion), ""),
        (
            "Metrics passed",
            f"{passed} of {len(read)}",
            "FAIL" if failed else "PASS" if read and passed == len(read) else "INSUFFICIENT_DATA",
        ),
        ("Slices failed", f"{bad} of {tested}" if facts.slices else "not tested", "FAIL" if bad else ""),
        ("Right → wrong", f"{facts.flips.worse}" if facts.flips.metric else "–", ""),
        ("Wrong → right", f"{facts.flips.better}" if facts.flips.metric else "–", ""),
        ("Judges admitted", f"{admitted} of {len(facts.panels)}" if facts.panels else "none", ""),
        ("Look", f"{facts.looks} of {facts.planned_looks}" if facts.looks is not None else "–", ""),
    ]
    shown = "".join(f'<div class="tile {kind}"><dt>{html(name)}</dt><dd>{html(value)}</dd></div>' for name, value, kind in tiles)
    return f'<dl class="tiles">{shown}</dl>'


def _contents() -> str:
    return "<nav>" + "".join(f'<a href="#{anchor(name)}">{html(name)}</a>' for name in SECTIONS) + "</nav>"


def _changes(facts: Facts) -> str:
    rows = [(name, html(text)) for name, text in words.changes(facts)]
    return f"<p>{html(facts.usecase.description)}</p>" + facts_table(rows)


def lineage_name(version: str) -> str:
    """The file of a version's lineage page, in the folder above the nights' reports."""
    return f"lineage-v{version}.html"


def _data(facts: Facts) -> str:
    """Rows, files and table versions."""
    data = facts.lineage
    rows = ", ".join(f"{count:,} {name}" for name, count in data.rows.items())
    split = ", ".join(f"{count:,} {name}" for name, count in data.split.items()) or "not recorded"
    shown = [
        ("Rows tonight", html(rows)),
        ("Split", html(split)),
        ("Tables", " ".join(f"<code>{html(name)}&nbsp;v{version}</code>" for name, version in data.tables.items()) or "not recorded"),
        ("Steps", " ".join(f"<code>{html(name)}&nbsp;{html(key)}</code>" for name, key in data.steps.items())),
    ]
    if version := facts.outcome.version:  # the page is written before this one is published
        shown.append(("Lineage", f'<a href="../{html(lineage_name(version))}">what {html(words.named(version))} was made of</a>'))
    body = facts_table(shown)
    if data.files:
        cells = [
            [
                f"<code>{html(row['source'], 300)}</code>",
                *(f"{row[key] or 0:,}" for key in ("read", "accepted", "quarantined")),
                _short(row["file"]),
            ]
            for row in data.files
        ]
        more = data.file_count - len(data.files)
        body += f"<h3>Files read: {data.file_count}</h3>" + table(["file", "#read", "#accepted", "#quarantined", "SHA-256"], cells)
        body += f'<p class="quiet">and {more:,} more</p>' if more else ""
    return body


def _ledger(facts: Facts) -> str:
    rows = [
        [str(entry.seq), html(entry.at[:19].replace("T", " ")), html(entry.night), html(entry.kind), f"<code>{html(entry.hash)}</code>"]
        for entry in facts.chain.entries
    ]
    told = f"{chip('PASS', 'intact')} Every hash of the {facts.chain.length} entries up to now holds. Those that bear on this night:"
    return f"<p>{told}</p>" + table(["#entry", "written, UTC", "night", "kind", "hash"], rows)


def _short(text: object) -> str:
    return f"<code>{html(str(text or '')[:12])}</code>"
