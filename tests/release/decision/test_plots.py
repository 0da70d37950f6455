"""Intervals as pictures: what the numbers say is where the marks stand."""

import re

import pytest

from pipelines.release.decision import plots
from pipelines.release.decision.facts import Metric
from pipelines.release.decision.panels import Agreement
from pipelines.release.decision.plots import Axis, Mark, strip


def metric(**changes: object) -> Metric:
    row = {"name": "accuracy", "role": "metric", "champion": 0.7, "candidate": 0.7, "difference": 0.0, "low": -0.02, "high": 0.02}
    counts = {"margin": 0.04, "visible": 0.05, "n": 100, "clusters": 80, "missing": 0}
    return Metric(
        **row | counts | {"verdict": "PASS", "read": True, "corrected": False, "better": False, "why": "", "mcnemar": None} | changes
    )


def place(svg: str, kind: str, name: str) -> float:
    """An attribute of the element of a class, in percent."""
    [element] = re.findall(rf'<\w+ class="{kind}"[^>]*>', svg)
    return float(re.search(rf' {name}="([-0-9.]+)%?"', element)[1])


def drawn(found: Metric) -> str:
    return strip(plots.margin_mark(found), plots.forest_axis([found]))


def test_a_difference_of_zero_sits_on_the_zero_line() -> None:
    svg = drawn(metric())
    assert place(svg, "point", "cx") == place(svg, "zero", "x1") == place(svg, "zero", "x2")


def test_a_bound_at_the_margin_sits_on_the_margin_line_whatever_the_units() -> None:
    for unit in (0.001, 0.04, 25.0):
        svg = drawn(metric(margin=unit, low=-unit, high=unit / 2))
        assert place(svg, "interval", "x1") == place(svg, "limit", "x1") == place(svg, "beyond", "width")


def test_metrics_of_one_night_share_zero_and_margin() -> None:
    found = [metric(), metric(margin=0.5, low=-0.9, high=0.2, difference=-0.35), metric(margin=30.0, difference=20.0, low=-5.0, high=45.0)]
    axis = plots.forest_axis(found)
    lines = [(place(svg, "zero", "x1"), place(svg, "limit", "x1")) for svg in (strip(plots.margin_mark(m), axis) for m in found)]
    assert len(set(lines)) == 1


@pytest.mark.parametrize(("low", "high", "heads"), [(-0.02, 0.02, 0), (-0.02, 9.0, 1), (-9.0, 9.0, 2), (None, 0.02, 1)])
def test_what_lies_beyond_the_axis_is_an_arrow(low: float | None, high: float, heads: int) -> None:
    svg = drawn(metric(low=low, high=high))
    assert svg.count('class="head"') == heads
    assert 0 <= place(svg, "interval", "x1") <= place(svg, "interval", "x2") <= 100


def test_a_point_beyond_the_axis_is_an_arrow_and_no_point_at_its_end() -> None:
    svg = drawn(metric(margin=0.01, difference=0.5, low=0.4, high=0.6))
    assert 'class="point"' not in svg and svg.count('class="head"') == 1


def test_a_metric_with_too_few_pairs_has_lines_and_no_mark() -> None:
    svg = drawn(metric(difference=None, low=None, high=None, verdict="INSUFFICIENT_DATA"))
    assert "point" not in svg and "interval" not in svg and "zero" in svg and "too few pairs" in svg


def test_a_margin_of_zero_puts_the_limit_on_the_zero_line() -> None:
    svg = drawn(metric(margin=0.0))
    assert place(svg, "limit", "x1") == place(svg, "zero", "x1")


def test_advice_is_drawn_apart_from_what_the_gate_reads() -> None:
    assert 'class="strip PASS"' in drawn(metric()) and 'class="strip advice"' in drawn(metric(read=False))


@pytest.mark.parametrize(("above", "start", "width"), [(False, 0.0, 59.7), (True, 59.7, 40.3)])
def test_the_side_that_is_not_allowed_is_shaded(above: bool, start: float, width: float) -> None:
    figure = Agreement("accuracy", 0.8, 0.7, 0.9, 0.6, above, True)
    svg = strip(plots.agreement_mark(figure), plots.agreement_axis([figure]))
    assert (place(svg, "beyond", "x"), place(svg, "beyond", "width")) == (pytest.approx(start), pytest.approx(width))


def test_a_kappa_below_zero_widens_the_axis() -> None:
    assert plots.agreement_axis([Agreement("kappa", 0.1, -0.15, 0.3, 0.3, False, False)]).low == -0.2


def test_the_bar_of_a_slice_reaches_from_zero_to_its_point() -> None:
    axis = Axis(-0.5, 0.5)
    svg = strip(Mark(-0.25, -0.4, -0.1, "FAIL", "fell", -0.1), axis, bar=True)
    assert place(svg, "bar", "x") == place(svg, "point", "cx") and place(svg, "bar", "width") == pytest.approx(24.25)


def test_a_name_from_outside_cannot_end_the_picture() -> None:
    assert "<script" not in strip(Mark(0.0, None, None, "PASS", "</title><script>"), Axis(-1, 1))
