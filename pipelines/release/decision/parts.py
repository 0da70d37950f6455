"""The small parts of the decision page. Whatever they are given as HTML is safe already; names and texts they escape."""

import re
from collections.abc import Sequence

from pipelines.release.decision.hostile import html


def section(name: str, body: str) -> str:
    """A heading that the list of contents leads to, and what stands under it."""
    return f'<section><h2 id="{anchor(name)}">{html(name)}</h2>\n{body}\n</section>'


def anchor(name: str) -> str:
    """The id of a section."""
    return name.lower().replace(",", "").replace(" ", "-")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells (HTML); a head that begins with # is that of numbers, one with ~ that of a picture."""
    kinds = [{"#": "num", "~": "wide"}.get(head[:1], "") for head in heads]
    head = "".join(f'<th class="{kind}">{html(name.lstrip("#~"))}</th>' for name, kind in zip(heads, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row, kinds, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what is known of them (HTML)."""
    return '<table class="facts">' + "".join(f"<tr><th>{html(name)}</th><td>{value}</td></tr>" for name, value in rows) + "</table>"


def chip(kind: str, text: str) -> str:
    """A word in the colour of a verdict."""
    return f'<span class="chip {html(kind)}">{html(text)}</span>'


def row(name: str, graph: str, told: str, kind: str = "") -> str:
    """One line of a figure: what it is, its picture, and the same in numbers (HTML)."""
    return f'<div class="row {kind}"><div class="name">{name}</div><div class="graph">{graph}</div><div class="told">{told}</div></div>'


def typeset(text: str, most: int = 20_000) -> str:
    """A sentence of ours, escaped: real minus signs, and no break within 95 %."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", html(text, most)).replace(" %", "&nbsp;%")


def number(value: float | None, digits: int = 3) -> str:
    """A figure, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Both bounds; an infinite one is told as such."""
    if low is None and high is None:
        return "no interval"
    return f"{'−∞' if low is None else signed(low)} to {'∞' if high is None else signed(high)}"
