"""Common expectations as vectorised work on one column of Arrow, with exactly Great Expectations' meaning for pandas.

What is not here goes to Great Expectations itself. A null never breaks a rule but those that speak of nulls. A pattern is
searched for by the very function of pandas that Great Expectations calls, so its dialect is the same.
"""

import datetime
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipelines.foundation.records import TABLES

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Broken = Callable[["pa.Array"], "np.ndarray"]  # of a batch's column: bool [rows], whether the value breaks the rule
KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "int64": (int, float), "timestamp": (datetime.datetime,)}
UNIQUE = "expect_column_values_to_be_unique"
OWN = {"column", "mostly"}
BOUNDS = {"min_value", "max_value", "strict_min", "strict_max"}
ARGUMENTS = {
    "expect_column_values_to_not_be_null": set(),
    "expect_column_values_to_be_null": set(),
    "expect_column_values_to_be_in_set": {"value_set"},
    "expect_column_values_to_not_be_in_set": {"value_set"},
    "expect_column_values_to_match_regex": {"regex"},
    "expect_column_values_to_not_match_regex": {"regex"},
    "expect_column_value_lengths_to_be_between": BOUNDS,
    "expect_column_value_lengths_to_equal": {"value"},
    "expect_column_values_to_be_between": BOUNDS,
    UNIQUE: set(),
}
OF_NULLS = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")


def fits(kind: str, kwargs: dict[str, Any]) -> bool:
    """Whether an expectation with these arguments can be pushed down."""
    column = TABLES["traffic"].get(str(kwargs.get("column")))
    if column is None or kind not in ARGUMENTS or set(kwargs) - OWN - ARGUMENTS[kind] or not _all([kwargs.get("mostly", 1)], (int, float)):
        return False
    if kind.endswith("_in_set"):
        return column != "timestamp" and _all(kwargs.get("value_set"), KINDS[column])
    if "_regex" in kind:
        return column == "string" and _can_search(kwargs.get("regex"))
    if "value_lengths" in kind:
        bounds = [kwargs[name] for name in ("min_value", "max_value", "value") if kwargs.get(name) is not None]
        return column == "string" and bool(bounds) and _all(bounds, (int,))
    if kind == "expect_column_values_to_be_between":
        bounds = [kwargs[name] for name in ("min_value", "max_value") if kwargs.get(name) is not None]
        return column != "string" and bool(bounds) and _all(bounds, KINDS[column])
    return True


def broken(kind: str, kwargs: dict[str, Any]) -> Broken:
    """The work of an expectation that fits, but for UNIQUE, which no single batch can tell."""
    import pyarrow.compute as pc

    negated = "_not_" in kind
    if kind in OF_NULLS:
        return lambda column: _plain(pc.is_null(column) if negated else pc.is_valid(column))
    passes = _passes(kind, kwargs)
    return lambda column: _plain(pc.and_(pc.is_valid(column), passes(column) if negated else pc.invert(passes(column))))


def _passes(kind: str, kwargs: dict[str, Any]) -> "Callable[[pa.Array], pa.Array]":
    """What the values of a column must be, or with `_not_` in its name must not be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def in_set(column: "pa.Array") -> "pa.Array":
        if pa.types.is_string(column.type):
            return pc.is_in(column, value_set=pa.array(kwargs["value_set"], pa.string()))
        return pc.is_in(pc.cast(column, pa.float64(), safe=False), value_set=pa.array(map(float, kwargs["value_set"]), pa.float64()))

    def match(column: "pa.Array") -> "pa.Array":
        return pa.array(column.to_pandas().astype(str).str.contains(kwargs["regex"]).to_numpy(bool))

    if kind.endswith("_in_set"):
        return in_set
    if kind.endswith("_regex"):
        return match
    if kind == "expect_column_value_lengths_to_equal":
        return lambda column: pc.equal(pc.utf8_length(column), kwargs["value"])
    if "value_lengths" in kind:
        return lambda column: _between(pc.utf8_length(column), kwargs)
    return lambda column: _between(column, kwargs)


def hashes(column: "pa.Array") -> "np.ndarray":
    """uint64 [rows]: equal values have equal ones; not the other way round, but hardly ever."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_string(column.type):
        return pd.util.hash_array(column.to_numpy(zero_copy_only=False), categorize=False)
    return column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).view("uint64")


def _between(column: "pa.Array", kwargs: dict[str, Any]) -> "pa.Array":
    import pyarrow.compute as pc

    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    kept = []
    if low is not None:
        kept.append((pc.greater if kwargs.get("strict_min") else pc.greater_equal)(column, _scalar(low, column.type)))
    if high is not None:
        kept.append((pc.less if kwargs.get("strict_max") else pc.less_equal)(column, _scalar(high, column.type)))
    return kept[0] if len(kept) == 1 else pc.and_(*kept)


def _scalar(value: Any, kind: "pa.DataType") -> "pa.Scalar":  # noqa: ANN401
    import pyarrow as pa

    return pa.scalar(value, kind) if pa.types.is_timestamp(kind) else pa.scalar(value)


def _plain(found: "pa.Array") -> "np.ndarray":
    return found.fill_null(False).to_numpy(zero_copy_only=False)


def _can_search(regex: object) -> bool:
    """Whether pandas takes the pattern: it searches with RE2, which knows less than Python; Great Expectations says what is wrong."""
    import pandas as pd
    import pyarrow as pa

    try:
        return isinstance(regex, str) and len(pd.Series(["a"]).str.contains(regex)) == 1
    except (pa.ArrowInvalid, re.error):
        return False


def _all(values: object, kinds: tuple[type, ...]) -> bool:
    """Whether these are a list of values of these types, and of no other that counts as one."""
    return isinstance(values, list) and all(isinstance(value, kinds) and not isinstance(value, bool) for value in values)
