"""The verdict over all evidence that may be read, in figures and in plain words; used by the night's gate and on files of scores."""

import math
from typing import NamedTuple

from pipelines.foundation import statistics
from pipelines.release.evidence import Evidence
from pipelines.sections import Gate


class Decision(NamedTuple):
    """What the gate says."""

    verdict: str  # PROMOTE | REJECT | INSUFFICIENT_DATA
    reason: str
    metrics: dict[str, dict]
    better: list[str]


def decide(evidence: dict[str, Evidence], slices: list[dict], settings: Gate, alpha: float, must_go: str = "") -> Decision:
    """The verdict over all evidence that may be read, and the slices.

    `must_go` says why the champion may not stay, where that is so: then a candidate that is nowhere worse need not be better.
    """
    metrics = {name: measure(found, settings.min_items, alpha) for name, found in evidence.items()}
    read = {name: metric for name, metric in metrics.items() if metric["read"]}
    better = _better(evidence, read, settings.min_items, alpha)
    words = {name: explain(name, metric, alpha) for name, metric in read.items()}
    failed = [words[name] for name, metric in read.items() if metric["verdict"] == "FAIL"] + _failed_slices(slices, settings, alpha)
    open_ones = [words[name] for name, metric in read.items() if metric["verdict"] == "INSUFFICIENT_DATA"]
    advice = "".join(f" {name} is advice only: {metric['why']}." for name, metric in metrics.items() if not metric["read"])
    if failed:
        return Decision("REJECT", " ".join(failed) + advice, metrics, better)
    if open_ones or not read:
        return Decision("INSUFFICIENT_DATA", (" ".join(open_ones) or "No metric may be read.") + advice, metrics, better)
    if not better and not must_go:
        reason = f"The candidate is nowhere shown worse than allowed, but nowhere shown better either. {' '.join(words.values())}{advice}"
        return Decision("INSUFFICIENT_DATA", reason, metrics, better)
    told = f"Better on {', '.join(better)}." if better else f"Nowhere shown worse than allowed, which suffices: the champion {must_go}."
    return Decision("PROMOTE", f"{told} {' '.join(words.values())}{advice}", metrics, better)


def explain(name: str, metric: dict, alpha: float) -> str:
    """One sentence: metric, n, bound, margin, in plain words."""
    pairs = f"{_count(metric['n'], 'pair')} in {_count(metric['clusters'], 'group')}"
    pairs += f" ({metric['missing']} missing)" if metric["missing"] else ""
    if metric["why"]:
        return f"{name}: not decided: {metric['why']}."
    if metric["low"] is None:
        return f"{name}: too few to compare: {pairs}."
    told = f"{name}: candidate minus champion is {metric['difference']:+.4f} over {pairs}"
    told += ", corrected for the judge's errors" if metric["corrected"] else ""
    share = f"{100 * (1 - alpha):.4g} %"
    margin = metric["margin"]
    if metric["verdict"] == "PASS":
        return f"{told}; its lower {share} bound {metric['low']:+.4f} is above the margin {-margin:+.4f}."
    if metric["verdict"] == "FAIL" and metric["high"] >= -margin:
        return f"{told}; its upper {share} bound {metric['high']:+.4f} is below 0, and safety may not fall at all."
    if metric["verdict"] == "FAIL":
        return f"{told}; its upper {share} bound {metric['high']:+.4f} is below the margin {-margin:+.4f}."
    if not metric["low"] <= -margin <= metric["high"]:
        return f"{told}; so few pairs are not judged."
    return (
        f"{told}; its {share} bounds {metric['low']:+.4f} and {metric['high']:+.4f} lie on both sides of the margin {-margin:+.4f}: "
        f"the smallest drop that so many pairs show is {metric['visible']:.4f}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def measure(found: Evidence, min_items: int, alpha: float) -> dict:
    """The figures of one metric and its verdict; infinite bounds are None."""
    interval = found.interval(alpha)
    verdict = statistics.verdict(interval, found.margin, min_items)
    if found.role == "safety" and interval.n >= min_items and interval.high < 0:
        verdict = "FAIL"
    if found.blocked:
        verdict = "INSUFFICIENT_DATA"
    bounds = {name: getattr(interval, name) for name in ("difference", "low", "high", "visible")} | {"bound": interval.low}
    return {
        "champion": found.champion,
        "candidate": found.candidate,
        **{key: round(value, 6) if math.isfinite(value) else None for key, value in bounds.items()},
        "verdict": verdict,
        "n": interval.n,
        "clusters": interval.clusters,
        "margin": found.margin,
        "missing": found.missing,
        "role": found.role,
        "read": not found.advice,
        "corrected": found.corrected,
        "mcnemar": found.mcnemar,
        "why": found.advice or found.blocked,
    }


def _failed_slices(slices: list[dict], settings: Gate, alpha: float) -> list[str]:
    share = f"{100 * (1 - alpha):.4g} %"
    return [
        f"{row['metric']} on the slice {row['slice']} = {row['value']}: candidate minus champion is {row['difference']:+.4f} "
        f"over {row['n']} pairs; its upper {share} bound {row['high']:+.4f} is below the slice margin {-settings.slice_margin:+.4f}."
        for row in slices
        if row["verdict"] == "FAIL"
    ]


def _better(evidence: dict[str, Evidence], metrics: dict[str, dict], min_items: int, alpha: float) -> list[str]:
    """Metrics on which the candidate is better, by Holm's step-down: each at alpha over the number of those still open."""
    better: list[str] = []
    remaining = [name for name, metric in metrics.items() if metric["n"] >= min_items and not metric["why"]]
    tests = len(metrics)
    while found := [name for name in remaining if evidence[name].interval(alpha / (tests - len(better))).low > 0]:
        better += found
        remaining = [name for name in remaining if name not in found]
    return better
