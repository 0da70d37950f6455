"""Metrics by slice: a candidate that is better on the mean and shown worse beyond the margin somewhere is not promoted.

Each slice is tested on its own at the gate's alpha, without a correction for their number: a false alarm costs a night,
a missed loss costs the people in the slice. An equal candidate is almost never flagged, since it would have to be shown
worse than the margin and not only worse than 0 (`python -m bench.slices`).
"""

import functools
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.foundation import statistics
from pipelines.foundation.step import Night
from pipelines.release.evidence import paired

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LENGTHS = ((10, "up to 10 words"), (30, "11 to 30 words"))
LONGEST = "over 30 words"
SURE = 0.9  # of the language, below which it is undetermined


def compare_slices(night: Night, alpha: float) -> list[dict]:
    """One row a slice, value and metric that is a mean of items in [0, 1]; FAIL first, then by metric and difference."""
    settings, names = night.usecase.gate, night.usecase.evaluation.slices
    metrics = night.usecase.item_metrics
    if not names or not metrics:
        return []
    where = f"night = '{night.night}' AND model = '{night.before('finetune')['model']}'"
    scores = night.lake.read("scores", night.before("evaluate")["scores"], where=where).to_pylist()
    examples = night.lake.read("examples", night.before("split")["examples"], where="split = 'test'").to_pylist()
    values = {row["example_id"]: {name: slice_value(name, row) for name in names} for row in examples}
    by_slice: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
    for row in scores:
        for name, value in values.get(row["example_id"], {}).items():
            if row["metric"] in metrics:
                by_slice[name, value, row["metric"]].append(row)
    found = [_measure(key, rows, settings.slice_margin, settings.slice_min_items, alpha) for key, rows in by_slice.items()]
    found = [row for row in found if row["n"]]
    return sorted(found, key=lambda row: (row["verdict"] != "FAIL", row["slice"], row["metric"], row["difference"], row["value"]))


def slice_value(name: str, example: dict) -> str:
    """What a sealed row is in a slice: its label, length, language, source, or a column of its source that is not mapped."""
    if name == "length":
        words = len(example["prompt"].split())
        return next((text for most, text in LENGTHS if words <= most), LONGEST)
    attributes = json.loads(example["attributes"] or "{}")
    if name == "language" and "language" not in attributes:
        return language(example["prompt"])
    value = example[name] if name in ("label", "source") and example[name] is not None else attributes.get(name)
    return "none" if value is None else str(value)[:60]


def language(text: str) -> str:
    """ISO 639 code by py3langid's byte n-grams, `undetermined` where it is not sure, as on a few words."""
    code, probability = _identifier().classify(text)
    return code if probability >= SURE else "undetermined"


@functools.cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _measure(key: tuple[str, str, str], rows: Sequence[dict], margin: float, min_items: int, alpha: float) -> dict:
    name, value, metric = key
    found = paired(rows, margin)
    interval = found.interval(alpha)
    verdict = statistics.verdict(interval, margin, 0) if interval.n >= min_items and interval.clusters > 1 else "SHOWN"
    sides = {"champion": found.champion, "candidate": found.candidate}
    bounds = {"difference": interval.difference, "low": interval.low, "high": interval.high}
    shown = {side: None if bound in (float("inf"), float("-inf")) else round(bound, 6) for side, bound in bounds.items()}
    return (
        {"slice": name, "value": value, "metric": metric, "n": interval.n, "clusters": interval.clusters}
        | sides
        | shown
        | {"verdict": verdict}
    )
