"""The gate: a candidate is promoted only when the sealed rows show it: `python -m pipelines gate --usecase support --night 2026-11-20`.

For each metric a paired, clustered non-inferiority test (`foundation.statistics`): it passes when the lower one-sided
bound of candidate minus champion is above -margin, and fails when the upper one is below it. All must pass, each at
alpha: an intersection-union test needs no correction (Berger 1982). To be promoted the candidate must also be better
(lower bound above 0) on at least one, at Holm's corrected levels (Holm 1979). Judges are not read.

`python -m pipelines gate --scores FILE --margin 0.03 --json` decides on one file of scores. With one metric there is no
second one to be better on: PROMOTE means not worse than the margin allows, REJECT worse than that.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import ledger, macro_f1, statistics
from pipelines.foundation.statistics import Interval
from pipelines.foundation.step import Night, step
from pipelines.release.scores import read_scores
from pipelines.sections import Gate

if TYPE_CHECKING:
    import numpy as np

VERDICTS = {"PASS": "PROMOTE", "FAIL": "REJECT", "INSUFFICIENT_DATA": "INSUFFICIENT_DATA"}
MIN_ITEMS: int = Gate.model_fields["min_items"].default
log = logging.getLogger("pipelines.gate")


class Evidence(NamedTuple):
    """One metric of the night: both models' values and the interval of their difference at any alpha."""

    champion: float | None
    candidate: float | None
    interval: Callable[[float], Interval]
    missing: int  # sealed rows that lack an answer or a reference


class Decision(NamedTuple):
    """What the gate says."""

    verdict: str  # PROMOTE | REJECT | INSUFFICIENT_DATA
    reason: str
    metrics: dict[str, dict]
    better: list[str]


def _looks(night: Night) -> int:
    """Evaluations against the sealed rows up to this night; the same candidate on the same night is one look."""
    found = ledger.entries(night.lake)
    return len({(entry.night, entry.body.get("candidate")) for entry in found if entry.kind == "look" and entry.night <= night.night})


@step(code=1, after="evaluate", sections=("gate", "evaluation"), extra=_looks)
def gate(night: Night) -> dict:
    """Decide, and write the verdict with its evidence to the ledger; raises UserError where a metric was not measured."""
    settings, looks, evaluated = night.usecase.gate, _looks(night), night.before("evaluate")
    alpha = spent_alpha(settings.alpha, settings.looks, looks)
    found = decide({name: _evidence(night, name) for name in settings.metrics}, settings, alpha)
    if evaluated["candidate"]["key"] == evaluated["champion"]["key"]:
        found = found._replace(verdict="INSUFFICIENT_DATA", reason="the candidate is the champion itself: there is nothing to promote")
    reason = found.reason
    if looks > settings.looks:
        reason += f" The sealed rows were looked at {looks} times and {settings.looks} are planned: alpha is {alpha:.4f}."
    result = found._asdict() | {"reason": reason, "alpha": alpha, "looks": looks}
    models = {side: evaluated[side]["key"] for side in ("candidate", "champion")}
    ledger.append(night.lake, night.night, "verdict", result | models)
    log.info("%s: %s", found.verdict, reason)
    return result


def spent_alpha(alpha: float, planned: int, looks: int) -> float:
    """Alpha of this look: as set for the planned looks, then times (planned / looks)^2.

    The sum over all further looks stays below alpha * planned, so that a sealed set is never worth more than
    2 * alpha * planned false promotions, however long it is used.
    """
    return alpha * min(1.0, planned / max(looks, 1)) ** 2


def decide(evidence: dict[str, Evidence], settings: Gate, alpha: float) -> Decision:
    """The verdict over all metrics of the settings."""
    metrics = {name: _measure(found, settings.metrics[name], settings.min_items, alpha) for name, found in evidence.items()}
    better = _better(evidence, metrics, settings.min_items, alpha)
    words = {name: explain(name, metric, alpha) for name, metric in metrics.items()}
    failed = [words[name] for name, metric in metrics.items() if metric["verdict"] == "FAIL"]
    open_ones = [words[name] for name, metric in metrics.items() if metric["verdict"] == "INSUFFICIENT_DATA"]
    if failed:
        return Decision("REJECT", " ".join(failed), metrics, better)
    if open_ones:
        return Decision("INSUFFICIENT_DATA", " ".join(open_ones), metrics, better)
    if not better:
        reason = f"The candidate is nowhere shown worse than allowed, but nowhere shown better either. {' '.join(words.values())}"
        return Decision("INSUFFICIENT_DATA", reason, metrics, better)
    return Decision("PROMOTE", f"Better on {', '.join(better)}. {' '.join(words.values())}", metrics, better)


def decide_file(path: str, margin: float, alpha: float) -> dict:
    """The verdict on one file of scores (see `scores`); raises UserError for a bad file, margin or alpha."""
    [found] = _decide_scores(path, margin, alpha, batch=False)
    return found


def decide_batch(path: str, margin: float, alpha: float) -> Iterator[dict]:
    """One verdict a draw of a file with a column `draw`, in order of first appearance: what `decide_file` says of its rows."""
    yield from _decide_scores(path, margin, alpha, batch=True)


def explain(name: str, metric: dict, alpha: float) -> str:
    """One sentence: metric, n, bound, margin, in plain words."""
    pairs = f"{metric['n']} pairs in {metric['clusters']} groups" + (f" ({metric['missing']} missing)" if metric["missing"] else "")
    if metric["low"] is None:
        return f"{name}: {pairs} are too few to compare."
    told = f"{name}: candidate minus champion is {metric['difference']:+.4f} over {pairs}"
    share = f"{100 * (1 - alpha):.4g} %"
    margin = metric["margin"]
    if metric["verdict"] == "PASS":
        return f"{told}; its lower {share} bound {metric['low']:+.4f} is above the margin {-margin:+.4f}."
    if metric["verdict"] == "FAIL":
        return f"{told}; its upper {share} bound {metric['high']:+.4f} is below the margin {-margin:+.4f}."
    if not metric["low"] <= -margin <= metric["high"]:
        return f"{told}; so few pairs are not judged."
    return (
        f"{told}; its {share} bounds {metric['low']:+.4f} and {metric['high']:+.4f} lie on both sides of the margin {-margin:+.4f}: "
        f"the smallest drop that so many pairs show is {metric['visible']:.4f}."
    )


def _measure(found: Evidence, margin: float, min_items: int, alpha: float) -> dict:
    interval = found.interval(alpha)
    bounds = {name: getattr(interval, name) for name in ("difference", "low", "high", "visible")} | {"bound": interval.low}
    return {
        "champion": found.champion,
        "candidate": found.candidate,
        **{key: round(value, 6) if math.isfinite(value) else None for key, value in bounds.items()},
        "verdict": statistics.verdict(interval, margin, min_items),
        "n": interval.n,
        "clusters": interval.clusters,
        "margin": margin,
        "missing": found.missing,
    }


def _better(evidence: dict[str, Evidence], metrics: dict[str, dict], min_items: int, alpha: float) -> list[str]:
    """Metrics on which the candidate is better, by Holm's step-down: each at alpha over the number of those still open."""
    better: list[str] = []
    remaining = [name for name, metric in metrics.items() if metric["n"] >= min_items]
    tests = len(metrics)
    while found := [name for name in remaining if evidence[name].interval(alpha / (tests - len(better))).low > 0]:
        better += found
        remaining = [name for name in remaining if name not in found]
    return better


def _evidence(night: Night, metric: str) -> Evidence:
    """A metric's rows of this night, at the version that evaluate wrote; macro-F1 from the predictions behind them."""
    per_item = "accuracy" if metric == "macro_f1" else metric
    where = f"night = '{night.night}' AND metric = '{per_item}'"
    rows = night.lake.read("scores", night.before("evaluate")["scores"], where=where).to_pylist()
    if not rows:
        place = f"{night.usecase.folder}/usecase.yaml"
        raise UserError(f"{place}: gate.metrics names {metric}, but evaluate of {night.night} wrote no score of it")
    pairs = [row for row in rows if row["champion"] is not None and row["candidate"] is not None]
    if metric == "macro_f1":
        return _macro_evidence(night, pairs, len(rows) - len(pairs))
    champion, candidate = [row["champion"] for row in pairs], [row["candidate"] for row in pairs]
    return item_evidence(champion, candidate, [row["group_id"] for row in pairs], len(rows) - len(pairs))


def item_evidence(champion: Sequence[float], candidate: Sequence[float], groups: Sequence[str], missing: int) -> Evidence:
    """Evidence of a metric that is the mean of its items."""
    if not groups:
        return Evidence(None, None, _nothing, missing)
    differences = [new - old for new, old in zip(candidate, champion, strict=True)]
    means = (round(sum(values) / len(values), 6) for values in (champion, candidate))
    return Evidence(*means, lambda alpha: statistics.compare(differences, groups, alpha), missing)


def _macro_evidence(night: Night, pairs: list[dict], missing: int) -> Evidence:
    if not pairs:
        return Evidence(None, None, _nothing, missing)
    evaluated, tonight = night.before("evaluate"), f"night = '{night.night}'"
    examples = night.lake.read("examples", night.before("split")["examples"], ["example_id", "label"], where="split = 'test'")
    labels = {row["example_id"]: row["label"] for row in examples.to_pylist()}
    answered = night.lake.read("predictions", evaluated["predictions"], ["example_id", "model", "label"], where=tonight)
    by_model = {(row["model"], row["example_id"]): row["label"] for row in answered.to_pylist()}
    gold = [labels[row["example_id"]] for row in pairs]
    old, new = ([by_model[evaluated[side]["key"], row["example_id"]] for row in pairs] for side in ("champion", "candidate"))
    groups = [row["group_id"] for row in pairs]
    values = (round(macro_f1.macro_f1(gold, answers), 6) for answers in (old, new))
    return Evidence(*values, lambda alpha: macro_f1.compare(gold, old, new, groups, alpha), missing)


def _nothing(alpha: float) -> Interval:
    return Interval(math.nan, -math.inf, math.inf, math.inf, 0, 0)


def _decide_scores(path: str, margin: float, alpha: float, batch: bool) -> Iterator[dict]:
    import numpy as np

    if not (math.isfinite(margin) and margin >= 0):
        raise UserError(f"--margin {margin} must be 0 or more, in the score's own units")
    if not 0 < alpha < 0.5:
        raise UserError(f"--alpha {alpha} must lie between 0 and 0.5")
    scores = read_scores(path, batch)
    names = list(dict.fromkeys(scores.draws))
    champion, candidate = (np.array(side, dtype=float) for side in (scores.champion, scores.candidate))  # None becomes NaN
    differences, draws = candidate - champion, _codes(scores.draws)
    whole = np.isfinite(differences)
    missing = np.bincount(draws[~whole], minlength=len(names))
    kept, place = np.unique(draws[whole], return_inverse=True)  # draws without a whole pair have no interval
    places = {int(draw): index for index, draw in enumerate(kept)}
    if len(kept):
        found = statistics.bounds(statistics.summarise(differences[whole], _codes(scores.groups)[whole], place), alpha)
    for code, name in enumerate(names):
        at = places.get(code)
        interval = _nothing(alpha) if at is None else Interval(*(part[at].item() for part in found))
        metric = _measure(Evidence(None, None, lambda _, interval=interval: interval, int(missing[code])), margin, MIN_ITEMS, alpha)
        reason = explain("score", metric, alpha)
        shown = {key: metric[key] for key in ("n", "clusters", "difference", "low", "high", "bound", "visible", "margin", "missing")}
        yield ({"draw": name} if batch else {}) | {"verdict": VERDICTS[metric["verdict"]]} | shown | {"alpha": alpha, "reason": reason}


def _codes(names: list[str]) -> "np.ndarray":
    """Codes from 0, in order of first appearance."""
    import numpy as np

    places = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return np.fromiter((places[name] for name in names), dtype=np.int64, count=len(names))
