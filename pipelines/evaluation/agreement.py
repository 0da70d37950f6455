"""How far a judge agrees with people, and whether that is enough for the gate to read it.

Two orders of one item, and items of one group, are not independent: every bound counts groups, never judgements alone
(`proportions.clustered`, `association.kappa`). All bounds are one-sided 95 % ones, and stay wide where a judge and
people never disagree. A figure that cannot be told has the value None.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import statistics
from pipelines.foundation.association import kappa, spearman
from pipelines.foundation.proportions import Share, clustered, codes, youden
from pipelines.sections import Admission, Judge

if TYPE_CHECKING:
    import numpy as np

ALPHA = 0.05  # one-sided
SIGN = {"1": 1.0, "2": -1.0, "tie": 0.0, None: float("nan")}
SHOWN = {"12": 1.0, "21": -1.0}  # sign of the output shown first


class Verdict(NamedTuple):
    """One judgement beside people's; pairwise verdicts name the output whatever the order it was shown in."""

    item: str
    group: str  # items that are alike share it
    order: str  # 12: output 1 was shown first, 21: output 2; empty: pointwise, or not known
    verdict: str | None  # 1 | 2 | tie, or the grade; None: unscored
    gold: str
    length: float | None  # characters of output 1 minus output 2, or of the answer; None: not known


class Decided(NamedTuple):
    """Whether a judge is admitted."""

    admitted: bool
    why: str  # one sentence without its full stop


class _Columns(NamedTuple):
    """Verdicts as arrays of shape [judgements]; pairwise 1, 2, tie are 1, -1, 0; NaN: unscored, length not known."""

    item: "np.ndarray"
    group: "np.ndarray"
    shown: "np.ndarray"  # sign of the output shown first; 0: not known
    said: "np.ndarray"
    gold: "np.ndarray"
    length: "np.ndarray"


def measure(verdicts: Sequence[Verdict], judge: Judge) -> dict:
    """Figures by name: counts (n items, judgements, unscored), the kind, and {"value", "low", "high"} rounded to 6 digits.

    accuracy: right of all judgements, an unscored one is wrong. kappa: Cohen's over scored judgements, with quadratic
    weights for grades. tpr, tnr: of scored judgements, right of those labelled 1 and of those labelled 2; pointwise, of
    those that pass and that fail by `pass_from`. order_consistency: same verdict in both orders, of the items judged in
    both, where twice unscored is the same too. first_position_share: of all judgements in a known order, those that
    name the output shown first. length_correlation: Spearman's of the verdict (1, 0 for a tie, -1; or the grade) with
    the length over scored judgements, label_length_correlation that of the label over the same ones.
    """
    import numpy as np

    data = _columns(verdicts, judge)
    scored = ~np.isnan(data.said)
    says, truth = _passing(data, judge)
    shown = data.shown != 0

    def share(values: np.ndarray, of: np.ndarray) -> dict:
        return _figure(clustered(values[of], data.group[of], ALPHA)) if of.any() else _figure(None)

    figures = {
        "kind": judge.kind,
        "n": int(data.item.max()) + 1 if len(data.item) else 0,
        "judgements": len(data.item),
        "accuracy": share(data.said == data.gold, np.ones_like(scored)),
        "kappa": _figure(kappa(data.said[scored], data.gold[scored], data.group[scored], ALPHA, nominal=judge.kind == "pairwise")),
        "tpr": share(says == 1, scored & (truth == 1)),
        "tnr": share(says == -1, scored & (truth == -1)),
        "order_consistency": _consistency(data),
        "first_position_share": share(data.said == data.shown, shown),
        "unscored": int((~scored).sum()),
        "unscored_share": share(~scored, np.ones_like(scored)),
    }
    known = scored & ~np.isnan(data.length)
    for name, ranked in (("length_correlation", data.said), ("label_length_correlation", data.gold)):
        figures[name] = _figure(spearman(ranked[known], data.length[known], data.group[known], ALPHA))
    return figures


def correction(merged: Sequence[Verdict], judge: Judge) -> dict:
    """By how much the judge shrinks a true difference, {"value", "low", "high"}, from one verdict an item; unscored ones are left out.

    Pairwise the mean of verdict times label, each 1 or -1 and a verdict `tie` 0, over the items that people do not call
    a tie: tpr + tnr - 1 where both labels are as frequent. Pointwise tpr + tnr - 1 of passing.
    """
    import numpy as np

    data = _columns(merged, judge)
    says, truth = _passing(data, judge)
    use = ~np.isnan(data.said) & (truth != 0)
    if not use.any():
        return _figure(Share(None, -1.0, 1.0))
    says, truth, group = says[use], truth[use], data.group[use]
    if judge.kind == "pairwise":
        found = statistics.compare(says * truth, group, ALPHA)
        return _figure(Share(found.difference, max(found.low, -1.0), min(found.high, 1.0)))
    right = (says == truth).astype(float)
    parts = [clustered(right[truth == side], group[truth == side], ALPHA) for side in (1, -1)]
    # Where one group holds answers that pass and answers that fail, the two rates err together.
    errors = [np.bincount(group, weights=(truth == side) * (right - (part.value or 0))) for side, part in zip((1, -1), parts, strict=True)]
    spread = np.sqrt((errors[0] ** 2).sum() * (errors[1] ** 2).sum())
    return _figure(youden(*parts, correlation=float((errors[0] * errors[1]).sum() / spread) if spread > 0 else 0.0))


def decide(figures: dict, probes: dict | None, rules: Admission) -> Decided:
    """Hold the figures against the rules; `probes` (asked, at_floor, and by kind the share at the floor) is None where none were asked.

    Accuracy, kappa and both rates must hold with their lower bounds; consistency, position, length and unscored as
    measured. What a rule needs and the labels cannot tell is a failure; lengths and probes that are not there are named.
    """
    failed = [] if figures["n"] >= rules.min_items else [f"{figures['n']} labelled items are fewer than {rules.min_items}"]
    unchecked = [] if probes else ["probes"]
    least = {"accuracy": rules.min_accuracy, "kappa": rules.min_kappa, "tpr": rules.min_rate, "tnr": rules.min_rate}
    for name, bar in least.items():
        figure = figures[name]
        if figure["value"] is None:
            failed.append(f"{name} cannot be told from these labels")
        elif figure["low"] < bar:
            failed.append(f"{name} {figure['value']:.3g} has the lower bound {figure['low']:.3g}, below {bar:g}")
    consistency, first = figures["order_consistency"]["value"], figures["first_position_share"]["value"]
    if figures["kind"] == "pairwise" and consistency is None:
        failed.append("no item was judged in both orders")
    elif consistency is not None and consistency < rules.min_order_consistency:
        failed.append(f"order consistency {consistency:.3g} is below {rules.min_order_consistency:g}")
    if first is not None and (bias := round(abs(first - 0.5), 6)) > rules.max_position_bias:
        failed.append(
            f"the output shown first is named in {first:.3g} of the judgements, {bias:.3g} from 1/2, above {rules.max_position_bias:g}"
        )
    length, own = figures["length_correlation"]["value"], figures["label_length_correlation"]["value"]
    if length is None or own is None:
        unchecked.append("length")
    elif (excess := round(abs(length - own), 6)) > rules.max_length_correlation:
        failed.append(
            f"the correlation with length {length:.3g} is {excess:.3g} from the labels' {own:.3g}, above {rules.max_length_correlation:g}"
        )
    unscored = figures["unscored_share"]["value"]
    if unscored is not None and unscored > rules.max_unscored:
        failed.append(f"the unscored share {unscored:.3g} is above {rules.max_unscored:g}")
    if probes and probes["at_floor"] < probes["asked"]:
        kinds = ", ".join(kind for kind, share in probes["kinds"].items() if share < 1)
        failed.append(f"{probes['asked'] - probes['at_floor']} of {probes['asked']} probes were not given the lowest verdict ({kinds})")
    left = f" (not checked: {', '.join(unchecked)})" if unchecked else ""
    return Decided(not failed, ("; ".join(failed) or f"all rules hold on {figures['n']} labelled items") + left)


def _columns(verdicts: Sequence[Verdict], judge: Judge) -> _Columns:
    import numpy as np

    def number(verdict: str | None) -> float:
        return SIGN[verdict] if judge.kind == "pairwise" else float("nan" if verdict is None else verdict)

    def column(values: list[float]) -> np.ndarray:
        return np.array(values, dtype=float)

    return _Columns(
        codes([row.item for row in verdicts]),
        codes([row.group for row in verdicts]),
        column([SHOWN.get(row.order, 0.0) if judge.kind == "pairwise" else 0.0 for row in verdicts]),
        column([number(row.verdict) for row in verdicts]),
        column([number(row.gold) for row in verdicts]),
        column([float("nan") if row.length is None else row.length for row in verdicts]),
    )


def _passing(data: _Columns, judge: Judge) -> tuple["np.ndarray", "np.ndarray"]:
    """What the judge says and what people say, as 1 (output 1, or passing), -1 (output 2, or failing), 0 (tie)."""
    import numpy as np

    if judge.kind == "pairwise":
        return data.said, data.gold
    return np.where(data.said >= judge.pass_from, 1.0, -1.0), np.where(data.gold >= judge.pass_from, 1.0, -1.0)


def _consistency(data: _Columns) -> dict:
    """Of the items judged in both orders, those with the same verdict."""
    import numpy as np

    rows = np.full((2, len(data.item) + 1), -1)  # of each item, where each order is
    for place, sign in enumerate((1, -1)):
        at = np.flatnonzero(data.shown == sign)
        rows[place, data.item[at]] = at
    one, two = rows[:, (rows >= 0).all(axis=0)]
    if not len(one):
        return _figure(None)
    first, second = data.said[one], data.said[two]
    return _figure(clustered((first == second) | (np.isnan(first) & np.isnan(second)), data.group[one], ALPHA))


def _figure(share: Share | None) -> dict:
    parts = share or Share(None, None, None)
    return {name: None if part is None else round(float(part), 6) + 0.0 for name, part in zip(("value", "low", "high"), parts, strict=True)}
