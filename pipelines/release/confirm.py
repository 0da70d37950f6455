"""From staging to champion: fresh sealed rows, night by night, that neither the training nor the first verdict saw.

Each night adds rows, and a confidence sequence (`foundation.sequences`) holds at every look, so that a model is
confirmed on the first night on which every metric's lower bound is above -margin; it leaves staging as soon as one is
shown worse than that, or when `staging.max_nights` are over without either.
"""

import datetime
from collections import defaultdict

from pipelines.foundation import registry, sequences
from pipelines.foundation.step import Night


def confirm(night: Night) -> dict | None:
    """CONFIRM, DROP or WAIT for the model in staging, with the evidence of each metric; None where there is none."""
    stage = registry.staging(night)
    if stage is None or not night.usecase.staging.max_nights:
        return None
    settings, gate = night.usecase.staging, night.usecase.gate
    streams = _streams(night, stage.model.key)
    metrics = {}
    for name, differences in streams.items():
        found = sequences.bounds(differences, gate.alpha)  # all must pass: no correction (Berger 1982)
        worse = sequences.bounds(differences, gate.alpha / len(streams)).high < -settings.margin  # one is enough: Bonferroni
        verdict = "PASS" if found.low > -settings.margin and found.n >= settings.min_items else "WAIT"
        metrics[name] = {
            "n": found.n,
            "difference": round(found.mean, 6) if found.n else None,
            "low": round(found.low, 6),
            "high": round(found.high, 6),
            "margin": settings.margin,
            "verdict": "FAIL" if worse else verdict,
        }
    nights = (datetime.date.fromisoformat(night.night) - datetime.date.fromisoformat(stage.night)).days
    verdict, why = _conclude(metrics, nights, settings.max_nights)
    return {"version": stage.model.version, "since": stage.night, "verdict": verdict, "why": why, "metrics": metrics}


def _conclude(metrics: dict[str, dict], nights: int, most: int) -> tuple[str, str]:
    verdicts = {metric["verdict"] for metric in metrics.values()}
    worse = ", ".join(name for name, metric in metrics.items() if metric["verdict"] == "FAIL")
    if worse:
        return "DROP", f"shown worse than the margin on fresh rows: {worse}"
    if verdicts == {"PASS"}:
        return "CONFIRM", f"within the margin on all fresh rows of {nights} nights"
    if nights >= most:
        return "DROP", f"not confirmed within {most} nights"
    return "WAIT", f"{nights} of {most} nights: not enough fresh rows yet"


def _streams(night: Night, model: str) -> dict[str, list[float]]:
    """Of each metric in [0, 1]: a difference a group of fresh rows, oldest first, the same order every night.

    A group counts by its rows of the first night on which it appears: observations have to be independent, and may not change later.
    """
    where = f"night = '{night.night}' AND model = '{model}'"
    scores = night.lake.read("scores", night.before("evaluate")["scores"], where=where).to_pylist()
    examples = night.lake.read("examples", night.before("split")["examples"], ["example_id", "night"], where="split = 'test'").to_pylist()
    arrived = {row["example_id"]: row["night"] for row in examples}
    found: dict[str, list[float]] = {}
    for name in night.usecase.item_metrics:
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in scores:
            if row["metric"] == name and row["champion"] is not None and row["candidate"] is not None:
                groups[arrived[row["example_id"]], row["group_id"]].append(row["candidate"] - row["champion"])
        firsts: dict[str, tuple[str, float]] = {}
        for (arrival, group), values in sorted(groups.items()):
            firsts.setdefault(group, (arrival, sum(values) / len(values)))
        found[name] = [value for _, _, value in sorted((arrival, group, value) for group, (arrival, value) in firsts.items())]
    return found
