"""Tonight's traffic against the days before it: what moved, by how much, and whether chance explains it.

Needs the night's `scrub` and `split` alone, so that it can run whenever they have:
`python -m pipelines drift --usecase support --night 2026-11-20`.
The report is {state}/reports/{usecase}/{night}/drift.html with its figures beside it as drift.json.
"""

import json
import logging
import os
import re
from pathlib import Path

from pipelines.foundation import registry
from pipelines.foundation.step import Night, step
from pipelines.monitoring import page, shifts, windows
from pipelines.monitoring.shifts import Separation, Shift
from pipelines.monitoring.windows import Column, Windows

SHOWN_LABELS = 10
log = logging.getLogger("pipelines.drift")


@step(code=1, after="split", sections=("drift",))
def drift(night: Night) -> dict:
    """Compare the two windows, write the report and log it to MLflow as the run "drift".

    Returns report (path of the HTML), figures (as in drift.json) and run_id. Fewer than drift.min_rows rows in a window
    give figures {"judged": false, "why": ...}.
    """
    found = windows.read(night)
    least = night.usecase.drift.min_rows
    few = [f"{count} rows in the {name} window" for name, count in found.rows.items() if count < max(least, 1)]
    pictures = ""
    if few:
        why = f"{' and '.join(few)}, and at least {least} are needed (drift.min_rows in {night.usecase.folder}/usecase.yaml)"
        figures = {"judged": False, "why": why, **_sizes(found, night)}
    else:
        columns = windows.columns(found)
        separation = shifts.separate(found)
        compared = shifts.compare(columns.found, separation, found, night.usecase.drift.share_threshold)
        skipped = columns.skipped if separation else columns.skipped | {"text": "too few conversations, or no words that two of them share"}
        figures = {"judged": True, **_sizes(found, night), **_figures(compared, separation, columns.found, found), "skipped": skipped}
        figures["threshold"] = night.usecase.drift.share_threshold
        pictures = page.pictures(columns.found, found, compared)
    for sentence in page.sentences(figures):
        log.info("%s", sentence)
    folder = Path(night.profile.state, "reports", night.usecase.name, night.night)
    report = page.page(f"Drift of {night.usecase.name}, night of {night.night}", figures, pictures)
    _write(folder / "drift.html", report)
    _write(folder / "drift.json", json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False))
    return {"report": str(folder / "drift.html"), "figures": figures, "run_id": _log(night, figures, folder)}


def _sizes(found: Windows, night: Night) -> dict:
    """Rows of both windows, and how many of them were compared where there were too many."""
    compared = {"tonight": int(found.tonight.sum()), "reference": int((~found.tonight).sum())}
    sizes = {name: {"rows": found.rows[name], "compared": compared[name]} for name in compared}
    return {"night": night.night, "tonight": sizes["tonight"], "reference": sizes["reference"] | {"from": found.first_day}}


def _figures(compared: list[Shift], separation: Separation | None, columns: list[Column], found: Windows) -> dict:
    moved = [shift.column for shift in compared if shift.drifted]
    text = next((shift for shift in compared if shift.column == "text"), None)
    label = next((column for column in columns if column.name == "label"), None)
    told = separation if text and text.drifted else None  # words that tell nothing apart are noise
    return {
        "drifted": moved,
        "drifted_share": len(moved) / len(compared),
        "auc": text.statistic if text else None,
        "columns": [shift._asdict() for shift in compared],
        "labels": shifts.moves(label.values, found.tonight)[:SHOWN_LABELS] if label else [],
        "words": {"tonight": told.tonight if told else [], "reference": told.reference if told else []},
    }


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")  # one name: what a killed try left is written over
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def _log(night: Night, figures: dict, folder: Path) -> str:
    """One MLflow run with the report, its figures and a metric for each column, the one that a killed try began; returns its id."""
    registry.client(night)
    import mlflow

    metrics = {f"{name}_rows": figures[name]["rows"] for name in ("tonight", "reference")}
    if figures["judged"]:
        metrics["drifted_share"] = figures["drifted_share"]
        metrics |= {_metric(f"{shift['column']}_effect"): shift["effect"] for shift in figures["columns"]}
        metrics |= {"auc": figures["auc"]} if figures["auc"] is not None else {}
    tags = {registry.NIGHT_TAG: night.night, registry.KEY_TAG: night.key}
    with mlflow.start_run(registry.left_run(night), run_name="drift", tags=tags) as run:
        mlflow.log_metrics(metrics)
        for name in ("drift.html", "drift.json"):
            mlflow.log_artifact(str(folder / name))
    return run.info.run_id


def _metric(name: str) -> str:
    """The letters that MLflow allows in the name of a metric."""
    return re.sub(r"[^\w.\- ]", "_", name, flags=re.ASCII)[:200]
