"""The drift report as one HTML file: what moved in plain words first, the figures, then Evidently's pictures.

Labels and attribute values come from traffic. Our part escapes them. Evidently writes its data as JSON into a <script>
element, where a label `</script>` ends the element and what follows it runs, so it is handed names without markup, and
its page sits in a frame that may run scripts but belongs to no origin. A policy forbids both any network.
"""

import warnings
from html import escape

from pipelines.monitoring.shifts import FALSE_DISCOVERIES, Shift
from pipelines.monitoring.windows import Column, Windows

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2330; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border-bottom: 1px solid #d5dae3; padding: .3rem .8rem; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } tr.moved td { background: #fdf0dc; }
iframe { width: 100%; height: 90vh; border: 1px solid #d5dae3; } .quiet { color: #5b6577; }
"""
HARMLESS = str.maketrans({"<": "‹", ">": "›", "&": "＆", '"': "”", "'": "’", "`": "’", "\\": "＼", "\u2028": " ", "\u2029": " "})
LONGEST_NAME, LONGEST_CELL = 60, 200  # letters


def page(title: str, figures: dict, pictures: str) -> str:
    """The whole report; `pictures` is Evidently's page, empty where drift was not judged."""
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(sentence)}</p>" for sentence in sentences(figures))]
    if figures["judged"]:
        parts += [_columns(figures), _labels(figures), _words(figures), _skipped(figures)]
        parts.append("<h2>Distributions</h2>")
        parts.append(f'<iframe title="Evidently report" sandbox="allow-scripts" srcdoc="{escape(pictures)}"></iframe>')
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{escape(title)}</title>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n'


def sentences(figures: dict) -> list[str]:
    """What happened, for a reader who looks at nothing else."""
    if not figures["judged"]:
        return [f"Drift was not judged: {figures['why']}."]
    rows = f"{figures['tonight']['rows']:,} rows tonight against {figures['reference']['rows']:,} from {figures['reference']['from']} on"
    moved = [shift for shift in figures["columns"] if shift["drifted"]]
    if not moved:
        return [f"Nothing moved: {rows}, and no column differs by more than chance allows."]
    return [f"{len(moved)} of {len(figures['columns'])} columns moved ({rows}).", *(_sentence(shift, figures) for shift in moved)]


def _sentence(shift: dict, figures: dict) -> str:
    name = harmless(shift["column"])
    if name == "text":
        words = ", ".join(figures["words"]["tonight"][:5]) or "no word that several conversations share"
        auc = f"{shift['statistic']:.2f}"
        return (
            f"text: a classifier tells tonight's texts from the others with an AUC of {auc} (0.5: not at all); they stand out by: {words}."
        )
    if shift["reference"] is not None:
        return f"{name}: {shift['reference']:.3g} on average before, {shift['tonight']:.3g} tonight."
    most = shift["largest"]
    return f"{name}: the largest move is {harmless(most['value'])}, from {most['reference']:.1%} to {most['tonight']:.1%} of the rows."


def pictures(columns: list[Column], windows: Windows, shifts: list[Shift]) -> str:
    """Evidently's HTML over the derived columns, which repeats our verdicts instead of testing on its own."""
    import pandas
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    names = _distinct([shift.column for shift in shifts])
    verdicts = {names[shift.column]: (shift.q, shift.drifted) for shift in shifts}
    shown = {names[column.name]: column for column in columns if len(set(column.values.tolist())) > 1}
    if not shown:
        return "<p>Every column has one value only.</p>"
    frame = pandas.DataFrame({name: _harmless_values(column) for name, column in shown.items()})
    kinds = {kind: [name for name, column in shown.items() if column.kind == kind] for kind in ("numeric", "categorical")}
    definition = DataDefinition(numerical_columns=kinds["numeric"], categorical_columns=kinds["categorical"])
    test = StatTest("nightshift", "permutation of conversations, corrected p", [ColumnType.Numerical, ColumnType.Categorical])
    register_stattest(test, lambda reference, tonight, kind, threshold: verdicts[reference.name])
    preset = DataDriftPreset(columns=list(shown), method="nightshift", threshold=FALSE_DISCOVERIES, drift_share=1 / len(shown))
    sets = [Dataset.from_pandas(frame[mask], data_definition=definition) for mask in (windows.tonight, ~windows.tonight)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, about histograms of a window in which a column is constant
        return Report([preset]).run(*sets).get_html_str(as_iframe=False)


def harmless(text: str) -> str:
    """A name without markup, on one line, of LONGEST_NAME letters at most."""
    return _shortened("".join(letter if letter.isprintable() else " " for letter in text.translate(HARMLESS)), LONGEST_NAME)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _distinct(values: list[str]) -> dict[str, str]:
    """A harmless name for each value: two values stay two, even where they look alike without their markup."""
    names: dict[str, str] = {}
    for value in values:
        name = harmless(value)
        names[value] = name if name not in names.values() else f"{name} ({len(names)})"
    return names


def _harmless_values(column: Column) -> list:
    values = column.values.tolist()
    if column.kind == "numeric":
        return values
    names = _distinct(sorted(set(values)))
    return [names[value] for value in values]


def _table(heads: list[str], rows: list[tuple[str, list[str]]]) -> str:
    """Rows as (class, cells); cells are cut and escaped here."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f'<tr class="{kind}">' + "".join(f"<td>{escape(_shortened(cell, LONGEST_CELL))}</td>" for cell in cells) + "</tr>"
        for kind, cells in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _columns(figures: dict) -> str:
    heads = ["column", "distance", "value", "by chance", "moved beyond chance", "p", "p corrected", "verdict"]
    rows = []
    for shift in figures["columns"]:
        numbers = [f"{shift[key]:.3f}" for key in ("statistic", "chance", "effect", "p", "q")]
        cells = [shift["column"], shift["method"], *numbers, "moved" if shift["drifted"] else "-"]
        rows.append(("moved" if shift["drifted"] else "", cells))
    rule = f"Moved: at least {figures['threshold']:.0%} of the rows, beyond chance, with a corrected p of at most {FALSE_DISCOVERIES}."
    return f'<h2>Columns</h2><p class="quiet">{escape(rule)}</p>' + _table(heads, rows)


def _labels(figures: dict) -> str:
    rows = [("", [row["value"], f"{row['reference']:.1%}", f"{row['tonight']:.1%}", f"{row['move']:+.1%}"]) for row in figures["labels"]]
    return "<h2>Labels, the largest moves first</h2>" + _table(["label", "reference", "tonight", "move"], rows) if rows else ""


def _words(figures: dict) -> str:
    if not any(figures["words"].values()):
        return ""
    rows = [("", [window, ", ".join(words)]) for window, words in figures["words"].items()]
    return "<h2>Words that tell the windows apart</h2>" + _table(["window", "words"], rows)


def _skipped(figures: dict) -> str:
    rows = [("", [name, why]) for name, why in figures["skipped"].items()]
    return "<h2>Not compared</h2>" + _table(["column", "why"], rows) if rows else ""
