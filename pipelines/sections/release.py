"""What a candidate must show, and what is watched afterwards."""

from pydantic import Field

from pipelines.sections.base import Section, Share


class Gate(Section):
    """What a candidate must show."""

    metrics: dict[str, float] = Field(description="metric to non-inferiority margin, in the metric's own units")
    alpha: float = Field(0.05, gt=0, lt=0.5)
    min_items: int = Field(30, description="fewer paired items: INSUFFICIENT_DATA")
    looks: int = Field(30, description="evaluations against the sealed rows before the gate tightens")
    slice_margin: Share = Field(0.1, description="a candidate shown worse than this on a slice is not promoted")
    slice_min_items: int = Field(10, ge=2, description="slices with fewer pairs are shown and decide nothing")


class Staging(Section):
    """Between candidate and champion: fresh sealed rows, night by night, that neither training nor the first verdict saw."""

    max_nights: int = Field(0, ge=0, description="nights in which a promoted candidate must be confirmed; 0: no staging")
    min_items: int = Field(50, ge=1, description="fresh groups of rows before it can be confirmed")
    margin: Share = Field(0.1, description="allowed loss of every metric of the gate, shown by a confidence sequence")


class Drift(Section):
    """Tonight against the reference window."""

    reference_days: int = 14
    min_rows: int = Field(20, description="rows in either window below which drift is not judged")
    share_threshold: Share = Field(0.05, description="share of the rows that must have moved, beyond chance, before a column has drifted")
