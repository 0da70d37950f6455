"""Pictures of intervals as inline SVG, without a library or a script: a point, its interval, and the line that it must not cross.

A strip is one row. Its places across are percentages and its heights pixels, so that it fills any column without
distortion, on a phone as on paper; its colours are classes of the page's style sheet. Strips of one axis stand in line.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from pipelines.release.decision.facts import Metric
from pipelines.release.decision.panels import Agreement

HEIGHT = 30  # pixels of a strip
EDGE = 1.5  # percent kept free on either side of an axis
WIDEST = 20  # margins to either side of zero; what lies further out is an arrow without a point
SHARE = (0.0, 1.0)


class Axis(NamedTuple):
    """The values at the two ends of a strip."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent from the left; a value beyond an end lies on it."""
        inside = min(max(value, self.low), self.high)
        return round(EDGE + (100 - 2 * EDGE) * (inside - self.low) / (self.high - self.low), 3)


class Mark(NamedTuple):
    """What a strip shows, in the units of its axis; a bound of None is unknown or infinite."""

    value: float | None
    low: float | None
    high: float | None
    kind: str  # class: PASS | FAIL | INSUFFICIENT_DATA | advice
    told: str  # the same in words, for those who do not see it
    limit: float | None = None  # the line; beyond it lies what is not allowed
    above: bool = False  # beyond is above


def forest_axis(metrics: Sequence[Metric]) -> Axis:
    """Margins of every metric on one axis: 0 is no difference and -1 a metric's own margin, whatever its units."""
    marks = [margin_mark(metric) for metric in metrics]
    ends = [end for mark in marks for end in (mark.low, mark.high, mark.value) if end is not None]
    low, high = (max([2.0, *(math.ceil(1.05 * side * end) for end in ends)]) for side in (-1, 1))
    return Axis(-min(low, WIDEST), min(high, WIDEST))


def margin_mark(metric: Metric) -> Mark:
    """A metric's difference in units of its margin; where that is 0, the interval's own half width is the unit."""
    ends = [abs(end) for end in (metric.low, metric.high) if end is not None]
    unit = metric.margin or max(ends, default=0.0) or 1.0
    value, low, high = (None if end is None else end / unit for end in (metric.difference, metric.low, metric.high))
    told = f"{metric.name}: " + ("too few pairs" if metric.difference is None else f"candidate minus champion {metric.difference:+.4f}")
    return Mark(value, low, high, metric.verdict if metric.read else "advice", told, -1.0 if metric.margin else 0.0)


def agreement_axis(figures: Sequence[Agreement]) -> Axis:
    """From 0, or below it where an interval goes there, to 1."""
    return Axis(min([*SHARE, *(math.floor(figure.low * 5) / 5 for figure in figures if figure.low is not None)]), 1.0)


def agreement_mark(figure: Agreement) -> Mark:
    """One figure of a judge against its threshold."""
    kind = {True: "PASS", False: "FAIL", None: "advice"}[figure.holds]
    return Mark(figure.value, figure.low, figure.high, kind, f"{figure.name} {_words(figure.value)}", figure.threshold, figure.above)


def slice_axis(rows: Sequence[dict]) -> Axis:
    """As far to either side as the largest difference, with room for the bars; half the range at most."""
    reach = max([abs(row["difference"]) for row in rows if row.get("difference") is not None], default=0.0)
    most = min(max(math.ceil(reach * 15) / 10, 0.2), 1.0)
    return Axis(-most, most)


def slice_mark(row: dict, margin: float) -> Mark:
    """A slice's difference against the slice margin."""
    kind = "advice" if row["verdict"] == "SHOWN" else row["verdict"]
    return Mark(row.get("difference"), row.get("low"), row.get("high"), kind, f"difference {_words(row.get('difference'))}", -margin)


def strip(mark: Mark, axis: Axis, bar: bool = False) -> str:
    """One row as an SVG element; with `bar` the way from zero to the point is filled."""
    middle = HEIGHT / 2
    parts = [f"<title>{escape(mark.told)}</title>", *_ground(mark, axis)]
    if mark.low is not None or mark.high is not None:
        ends = axis.place(axis.low if mark.low is None else mark.low), axis.place(axis.high if mark.high is None else mark.high)
        parts.append(f'<line class="interval" x1="{ends[0]}%" x2="{ends[1]}%" y1="{middle}" y2="{middle}"/>')
        parts += _arrow(axis, mark.low is None or mark.low < axis.low, mark.high is None or mark.high > axis.high)
    if mark.value is not None and axis.low <= mark.value <= axis.high:
        at, zero = axis.place(mark.value), axis.place(0)
        if bar and at != zero:
            parts.append(f'<rect class="bar" x="{min(at, zero)}%" width="{round(abs(at - zero), 3)}%" y="{middle - 5}" height="10"/>')
        parts.append(f'<circle class="point" cx="{at}%" cy="{middle}" r="5"/>')
    return f'<svg class="strip {mark.kind}" role="img" width="100%" height="{HEIGHT}">{"".join(parts)}</svg>'


def scale(axis: Axis, ticks: Sequence[tuple[float, str]]) -> str:
    """The labels under strips of one axis; ticks outside it are left out."""
    parts = []
    for value, text in ticks:
        if axis.low <= value <= axis.high:
            at = axis.place(value)
            anchor = "start" if at < 6 else "end" if at > 94 else "middle"
            parts.append(f'<text class="tick" x="{at}%" y="13" text-anchor="{anchor}">{escape(text)}</text>')
    return f'<svg class="scale" aria-hidden="true" width="100%" height="18">{"".join(parts)}</svg>'


def forest_ticks(axis: Axis) -> list[tuple[float, str]]:
    """0, the margin, and the ends."""
    ends = [(end, f"{'+' if end > 0 else '−'}{abs(end):g}") for end in (axis.low, axis.high) if abs(end) > 2]
    return [*ends, (0.0, "0"), (-1.0, "margin" if axis.high - axis.low < 8 else "−1")]


def _ground(mark: Mark, axis: Axis) -> list[str]:
    """The shaded side, zero, and the limit."""
    zero = axis.place(0)
    parts = []
    if mark.limit is not None:
        at = axis.place(mark.limit)
        start, width = (at, round(100 - at, 3)) if mark.above else (0, at)
        parts.append(f'<rect class="beyond" x="{start}%" width="{width}%" y="0" height="{HEIGHT}"/>')
    parts.append(f'<line class="zero" x1="{zero}%" x2="{zero}%" y1="0" y2="{HEIGHT}"/>')
    if mark.limit is not None:
        parts.append(f'<line class="limit" x1="{at}%" x2="{at}%" y1="0" y2="{HEIGHT}"/>')
    return parts


def _arrow(axis: Axis, left: bool, right: bool) -> list[str]:
    """Heads where an interval goes on beyond the axis."""
    middle = HEIGHT / 2
    heads = [(axis.place(axis.low), "0,0 7,-5 7,5")] if left else []
    heads += [(axis.place(axis.high), "0,0 -7,-5 -7,5")] if right else []
    return [
        f'<svg class="head" x="{at}%" y="{middle}" overflow="visible" width="1" height="1"><polygon points="{points}"/></svg>'
        for at, points in heads
    ]


def _words(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"
