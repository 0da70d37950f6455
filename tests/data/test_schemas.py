"""Columns have a kind and a shape, and what changed between two files is named without a value."""

import pytest

from pipelines.data.reading.rows import Row
from pipelines.data.reading.schemas import alike, compare, describe, renamed


def table(form: str = "csv", **columns: list) -> dict[str, dict]:
    rows = [Row(n, dict(zip(columns, cells, strict=True)), "") for n, cells in enumerate(zip(*columns.values(), strict=True), start=1)]
    return describe(rows, form)


@pytest.mark.parametrize(
    ("form", "values", "kind"),
    [
        ("csv", ["1", "2.5", "-3e4", ""], "number"),
        ("json", ["1", "2.5"], "text"),
        ("json", [1, 2.5, None], "number"),
        ("csv", ["true", "False"], "true/false"),
        ("json", [True, False], "true/false"),
        ("json", ["2026-11-20", "2026-11-20T10:00:00Z"], "time"),
        ("json", [{"a": 1}], "object"),
        ("json", [[1]], "list"),
        ("json", [None, None], "empty"),
        ("json", [1, "a", 2, "b"], "mixed"),
        ("json", ["hello", "two words"], "text"),
    ],
)
def test_the_kind_of_a_column_is_what_most_of_its_values_are(form: str, values: list, kind: str) -> None:
    assert table(form if kind != "empty" else "parquet", a=values)["a"]["kind"] == kind


def test_new_missing_renamed_and_retyped_columns_are_told_apart() -> None:
    names = [f"person {n}" for n in range(50)]
    was = table(a=names, b=[str(n) for n in range(50)], c=["x"] * 50, d=["red", "blue"] * 25)
    now = table(a=[str(n) for n in range(50)], b=[str(n) for n in range(50)], who=names, e=["a long remark about it all"] * 50)
    assert {tuple(change.values()) for change in compare("s", was, now)} == {
        ("s", "retyped", "a", "text", "number"),
        ("s", "missing", "c", "text", ""),
        ("s", "missing", "d", "text", ""),
        ("s", "new", "who", "", "text"),
        ("s", "new", "e", "", "text"),
    }


def test_a_column_under_another_name_is_found_by_its_shape_not_by_chance() -> None:
    texts, codes = [f"my card number {n} has not come yet" for n in range(40)], ["GB", "DE"] * 20
    was, now = table(text=texts, country=codes), table(land=codes, message=texts)
    assert renamed(was, now) == {"text": "message", "country": "land"}
    assert renamed(table(text=texts), table(country=codes)) == {}


def test_a_name_alone_is_a_hint_where_nothing_else_is_known() -> None:
    assert alike(["text", "label"], table(texts=["a"], other=["b"])) == {"text": "texts"}


def test_names_that_look_like_values_are_not_told() -> None:
    found = table(**{"Hello, I am Ann and my number is 0171 5551234": ["x"], "ann@example.com": ["y"], "plain_name": ["z"], "12": ["1"]})
    assert list(found) == ["column 1", "column 2", "plain_name", "column 4"]


def test_a_key_that_few_objects_have_is_no_column() -> None:
    assert list(table("json", a=[1, 2, 3], b=[None, None, 1])) == ["a"]
