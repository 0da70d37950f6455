"""Several verdicts to one."""

import pytest

from pipelines.evaluation.panel import majority, median_grade, merge


@pytest.mark.parametrize(
    ("verdicts", "merged"),
    [
        (["1", "1", "2"], "1"),
        (["1", "2", "tie"], "tie"),
        (["1", "2"], "tie"),
        (["tie", "tie", "1"], "tie"),
        (["1", "1", "2", "2"], "tie"),
        (["2", None, "2"], "2"),
        (["2", None], "2"),
        (["2", None, None], None),
        ([None], None),
        ([], None),
        (["1"], "1"),
    ],
)
def test_the_majority_is_of_the_scored_members(verdicts: list[str | None], merged: str | None) -> None:
    assert majority(verdicts) == merged


@pytest.mark.parametrize(
    ("grades", "median"),
    [(["5", "2", "3"], "3"), (["4", "3"], "3"), (["10", "9", "2"], "9"), (["5", None], "5"), (["5", None, None], None), ([], None)],
)
def test_the_median_grade_is_the_lower_one_and_counts_as_numbers(grades: list[str | None], median: str | None) -> None:
    assert median_grade(grades) == median


@pytest.mark.parametrize(
    ("one", "two", "merged"),
    [("1", "1", "1"), ("1", "2", "tie"), ("tie", "1", "tie"), ("tie", "tie", "tie"), (None, "1", None), (None, None, None)],
)
def test_two_orders_agree_or_tie(one: str | None, two: str | None, merged: str | None) -> None:
    assert merge(one, two) == merged
    assert merge(two, one) == merged
