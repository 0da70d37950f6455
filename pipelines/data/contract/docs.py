"""The page of one night's validation: one file, no script, nothing fetched; every value that came from data is escaped."""

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipelines.data.contract.checking import Result

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem} h2{font-size:1.1rem;margin-top:2rem} p{margin:.3rem 0}
table{border-collapse:collapse;width:100%} th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #d9dee5;vertical-align:top}
th{font-weight:600;color:#4a5565} td,pre{overflow-wrap:anywhere;white-space:pre-wrap} .n{text-align:right;font-variant-numeric:tabular-nums}
.pass,.fail{white-space:nowrap;font-weight:600} .pass{color:#12693a} .fail{color:#a8071a}
@media (prefers-color-scheme:dark){body{background:#14181f;color:#dfe4ea}th{color:#9aa5b4}th,td{border-color:#2c3440}
.pass{color:#5fd08f}.fail{color:#ff8087}}
"""


class Outcome(NamedTuple):
    """Rows of the night."""

    read: int
    accepted: int  # after validation
    refused_by_ingest: int
    refused_by_validate: int


class Held(NamedTuple):
    """The contract that the night was held to."""

    mark: str  # hash of the section
    text: str  # YAML, as it was used
    changed: list[str] | None  # keys that are not as on the night validated before; None: there was none
    links: dict[str, str]  # title to the name of a file beside the page


def render(
    usecase: str, night: str, outcome: Outcome, held: Held, rows: "list[Result]", table: "list[Result]", refused: list[tuple]
) -> str:
    """The page as HTML; `refused` counts the night's rows of `quarantine`: (step, reason, source, rows)."""
    stopped = sum(not result.passed for result in table)
    verdict = f'<span class="fail">was stopped by {stopped} rule(s)</span>' if stopped else '<span class="pass">passed</span>'
    title = f"Validation of {escape(usecase)}, night {escape(night)}"
    counted = [(*key, f"{count:,}") for *key, count in sorted(refused, key=lambda row: (-row[-1], row[:-1]))]
    counts = f"{outcome.read:,} rows read, {outcome.accepted:,} accepted"
    counts += f", {outcome.refused_by_ingest:,} refused by ingest, {outcome.refused_by_validate:,} by validate"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1><p>The night {verdict}. {counts}.</p>"
        f"<h2>Rules of the table: a failure stops the night</h2>{_results(table, 'passed', 'failed')}"
        f"<h2>Rules of a row: a failing row goes to quarantine</h2>{_results(rows, 'passed', 'rows refused')}"
        f"<h2>Rows refused this night</h2>{_table(('Step', 'Reason', 'Source', 'Rows'), counted)}"
        f"<h2>The contract that the night was held to</h2>{_contract(held)}</body></html>\n"
    )


def _contract(held: Held) -> str:
    changed = "no night was validated before it" if held.changed is None else "as on the night before it"
    if held.changed:
        changed = f"since the night before it changed: {', '.join(held.changed)}"
    links = ", ".join(f'<a href="{escape(name, quote=True)}">{escape(title)}</a>' for title, name in held.links.items())
    return f"<p>{escape(held.mark)}, {escape(changed)}. {links}</p><pre>{escape(held.text)}</pre>"


def _results(results: "list[Result]", good: str, bad: str) -> str:
    body = "".join(
        f"<tr>{_cells((result.name, result.expected, result.observed, '' if result.reason == result.name else result.reason))}"
        f'<td class="{"fail" if failed else "pass"}">{bad if failed else good}</td></tr>'
        for result in results
        for failed in [not result.passed or bool(result.refused)]
    )
    head = "".join(f"<th>{name}</th>" for name in ("Rule", "Expected", "Observed", "Reason", "Result"))
    return f"<table><tr>{head}</tr>{body}</table>" if results else "<p>None.</p>"


def _table(names: tuple[str, ...], rows: list[tuple]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if rows else "<p>None.</p>"


def _cells(values: tuple) -> str:
    return "".join(f"<td>{escape(str(value))}</td>" for value in values)
