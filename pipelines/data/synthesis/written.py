"""The page of one night's synthesis: one file, no script, nothing fetched; it quotes synthetic rows alone, every text escaped."""

import os
import random
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

SHOWN = 20  # rows that are quoted
LONGEST = 400  # letters of a quoted row
NAMES = {"rows": "rows", "distinct_1": "distinct-1", "distinct_2": "distinct-2", "self_bleu": "self-BLEU", "spread": "spread"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem} h2{font-size:1.1rem;margin-top:2rem} p{margin:.3rem 0} .quiet{color:#5b6577}
table{border-collapse:collapse} th,td{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #d9dee5;vertical-align:top}
th{font-weight:600;color:#4a5565} td{overflow-wrap:anywhere} .n{text-align:right;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){body{background:#14181f;color:#dfe4ea}th,.quiet{color:#9aa5b4}th,td{border-color:#2c3440}}
"""


def render(usecase: str, night: str, result: Mapping[str, object], tried: Mapping[str, int], figures: dict, rows: Sequence[dict]) -> str:
    """The page as HTML; `result` is that of the step, `tried` the drafts by method, `rows` the synthetic rows of the night."""
    title = f"Synthesis for {escape(usecase)}, night {escape(night)}"
    refused, kept = result["rejected_by_method"], result["methods"]
    methods = [(name, count, kept.get(name, 0), _words(refused.get(name, {}))) for name, count in sorted(tried.items())]
    variety = [(words, *(_figure(figures[side][name]) for side in ("tonight", "synthetic", "real"))) for name, words in NAMES.items()]
    balance = figures["balance"]
    shown = random.Random(night).sample(list(rows), min(SHOWN, len(rows)))
    quoted = [(row["method"], row["label"] or "", row["depth"], row["prompt"][:LONGEST], row["parent_id"]) for row in shown]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{result['rows']} rows were made; {sum(result['rejected'].values())} drafts were refused.</p>"
        f"<h2>Methods</h2>{_table(('Method', 'Tried', 'Kept', 'Refused'), methods)}"
        f"<h2>Variety</h2>{_table(('Figure', 'Tonight', 'All synthetic rows, 200 at most', 'As many real rows'), variety)}"
        '<p class="quiet">Higher distinct shares, a lower self-BLEU and a wider spread of the vectors are more varied.</p>'
        f"<p>Balance of the labels (1 is even): {_figure(balance['before'])} without, {_figure(balance['after'])} with tonight's rows.</p>"
        f"<h2>Rows, {len(shown)} of {len(rows)}</h2>{_table(('Method', 'Label', 'Generation', 'Message', 'Parent'), quoted)}"
        "</body></html>\n"
    )


def write(path: Path, page: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")  # one name: what a killed try left is written over
    draft.write_text(page, encoding="utf-8")
    os.replace(draft, path)


def _words(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(refused.items(), key=lambda item: (-item[1], item[0])))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"


def _table(names: tuple[str, ...], rows: Sequence[tuple]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return f'<td class="n">{value}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"
