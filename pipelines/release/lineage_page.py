"""The page of a version's lineage, one HTML file without a script, and the same as text for a terminal.

Paths, names and reasons come from outside: in HTML they are escaped by `hostile`.
"""

from collections.abc import Sequence
from pathlib import Path

from pipelines.release.decision import page
from pipelines.release.decision.hostile import html
from pipelines.release.decision.parts import chip, facts_table, section, table

FILES_SHOWN = 200
SPLIT = ("train", "test", "groups", "test_share", "group_by", "near_duplicate")  # what is shown of a night's split
CHAMPION = {"now": "the champion", "before": "was the champion", "never": "never the champion"}


def write(folder: Path, found: dict) -> Path:
    """Write the page of `lineage.trace_version`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / page.lineage_name(found["version"])
    path.write_text(_html(found), encoding="utf-8")
    return path


def text(found: dict) -> str:
    """For a terminal."""
    lines = [f"{found['usecase']} version {found['version']}, night {found['night']}: {CHAMPION[found['champion']]}"]
    lines += [f"It {found['barred']}: no night may promote it"] if found["barred"] else []
    lines += [f"{label:<10} {value}" for label, value in _facts(found)]
    lines += [f"table      {key} v{row['version']}{'' if row['kept'] else ' (gone)'}" for key, row in found["tables"].items()]
    used = [row for row in found["files"] if row["used"] != 0]
    lines += [f"file       {row['path']}, night {row['night']}: {_known(row['used'])} of {row['read']} rows used" for row in used]
    lines += [f"file       and {len(found['files']) - len(used)} of which no row was used"] if len(used) < len(found["files"]) else []
    lines += [f"dataset    {row['name']} ({row['context']}): digest {row['digest']}" for row in found["datasets"]]
    lines += [f"judge      {key}: {_judge(row)}" for key, row in found["judges"].items()]
    lines += [f"prompt     {key} {value}" for key, value in (found["prompts"] or {}).items()]
    lines += [f"safety     {row['path']} {row['sha256']}" for row in found["safety"] or ()]
    lines += [f"unknown    {told}" for told in found["unknown"]]
    return "\n".join([*lines, found["page"]])


def _facts(found: dict) -> list[tuple[str, str]]:
    """What is one line each."""
    verdict, rows, split = found["verdict"], found["rows"], found["split"]
    entry = f", ledger entry {verdict['entry']} {verdict['hash']}" if verdict["entry"] else ", in no entry of the ledger"
    synthetic = ", ".join(f"{count} by {method}" for method, count in rows["by_source"]["synthetic"].items()) or "none"
    real = ", ".join(f"{count} {source}" for source, count in rows["by_source"].items() if source != "synthetic") or "no real ones"
    told = f"{_known(rows['count'])}, {rows['found']} of them still there: {real}, synthetic: {synthetic}; from {rows['messages']} messages"
    tonight = ", ".join(f"{key} {split['night'][key]}" for key in SPLIT if key in split["night"])
    so_far = ", ".join(f"{count} {side}" for side, count in split["so_far"].items())
    return [
        ("Model", found["model"]),
        ("Run", _known(found["run"])),
        ("Verdict", _known(verdict["verdict"]) + entry),
        (
            "Moves",
            "; ".join(f"{row['kind']} (entry {row['entry']}, night {row['night']}, as {row['as']})" for row in found["moves"]) or "none",
        ),
        ("Rows", told),
        ("Split", f"{so_far or 'no examples'} up to this night; of this night {tonight or 'not known'}"),
        ("Code", _known(found["code"])),
        ("Settings", _known(found["settings"])),
        ("Libraries", ", ".join(f"{key} {value}" for key, value in (found["libraries"] or {}).items()) or "not known"),
    ]


def _judge(row: dict) -> str:
    entry = f"ledger entry {row['entry']} ({row['kind']}, {row['night']})" if row["entry"] else "no ledger entry"
    return f"members {_known(row.get('judge'))}, {'admitted' if row.get('admitted') else 'advice only'} by {entry}: {row.get('why', '')}"


def _known(value: object) -> str:
    return "not known" if value is None else str(value)


def _html(found: dict) -> str:
    """The whole page, in the style of the decision page."""
    title = html(f"Lineage: {found['usecase']}, version {found['version']}")
    style = Path(page.__file__).with_name("decision.css").read_text(encoding="utf-8")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{page.POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>\n{style}</style>'
    )
    kind = "PASS" if found["champion"] == "now" else "advice"
    erased = (
        f'<p class="warn">{chip("FAIL", "contains erased data")} It {html(found["barred"])}: no night may promote it.</p>'
        if found["barred"]
        else ""
    )
    told = f'<p class="eyebrow">Night {html(found["night"])}</p><h1>{title}</h1><p>{chip(kind, CHAMPION[found["champion"]])}</p>{erased}'
    parts = [
        section("Made of", facts_table([(label, html(value)) for label, value in _facts(found)])),
        section("No longer known", _list(found["unknown"]) or "<p>Everything that was written down is there.</p>"),
        section("Files read", _files(found["files"])),
        section("Tables", _tables(found)),
        section("Judges", _pairs({key: _judge(row) for key, row in found["judges"].items()})),
        section("Prompts", _pairs(found["prompts"] or {})),
        section("Safety files", _pairs({row["path"]: row["sha256"] for row in found["safety"] or ()})),
    ]
    body = f"<header>{told}</header>\n" + "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _pairs(found: dict[str, str]) -> str:
    return facts_table([(key, f"<code>{html(value)}</code>") for key, value in found.items()]) if found else "<p>None, or not known.</p>"


def _files(files: Sequence[dict]) -> str:
    """Those that gave rows first."""
    if not files:
        return "<p>None that is still known.</p>"
    ordered = sorted(files, key=lambda row: -(row["used"] or 0))
    cells = [
        [
            f"<code>{html(row['path'], 300)}</code>",
            html(row["night"]),
            *("–" if row[key] is None else f"{row[key]:,}" for key in ("read", "accepted", "used")),
            f"<code>{html(row['sha256'])}</code>",
        ]
        for row in ordered[:FILES_SHOWN]
    ]
    more = len(files) - len(cells)
    rest = f'<p class="quiet">and {more:,} more</p>' if more else ""
    return table(["file", "#night", "#read", "#accepted", "#used", "SHA-256"], cells) + rest


def _tables(found: dict) -> str:
    """Versions in the lake, and the datasets that MLflow was told of."""
    cells = [[f"<code>{html(key)}</code>", f"{row['version']}", "kept" if row["kept"] else "gone"] for key, row in found["tables"].items()]
    given = [
        [html(row["name"]), html(row["context"]), f"{row['profile'].get('rows', 0):,}", f"<code>{html(row['digest'])}</code>"]
        for row in found["datasets"]
    ]
    shown = table(["table", "#version", "in the lake"], cells) if cells else "<p>None, or not known.</p>"
    return shown + ("<h3>Dataset inputs of the run</h3>" + table(["name", "context", "#rows", "digest"], given) if given else "")
