"""What of a contract contradicts itself, found before any row is read: a line for each, with the keys on both sides.

Only rules that hold for every row are compared with each other: one with `mostly` or `row_condition` leaves room for both.
"""

import datetime
import itertools
import re
from collections.abc import Iterator
from typing import Any

BETWEEN = ("expect_column_values_to_be_between", "expect_column_value_lengths_to_be_between")
IN_SET, NOT_IN_SET = "expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set"
NULL, NOT_NULL = "expect_column_values_to_be_null", "expect_column_values_to_not_be_null"
CONTAIN, DISTINCT = "expect_column_distinct_values_to_contain_set", "expect_column_unique_value_count_to_be_between"
ROW_COUNT = "expect_table_row_count_to_be_between"
Rule = tuple[str, str, dict[str, Any]]  # key, type, kwargs


def find(contract: dict[str, Any]) -> list[str]:
    """The contradictions of a contract, its keys and values as written; none where it is sound."""
    rules = [*_rules(contract, "rows"), *_rules(contract, "table")]
    strict = [rule for rule in rules if rule[2].get("mostly", 1) == 1 and not rule[2].get("row_condition")]
    pairs = [pair for pair in itertools.combinations(strict, 2) if pair[0][2].get("column") == pair[1][2].get("column")]
    found = [*_own(contract), *_twice(rules)]
    for rule in rules:
        found += [*_bounds(*rule), *_patterns(*rule)]
    for rule in strict:
        found += _against_the_rest(contract, *rule)
    for one, two in pairs:
        found += [*_pair(one, two), *_pair(two, one)]
    return found


def _rules(contract: dict[str, Any], name: str) -> list[Rule]:
    """Entries that have the form of a rule; the others are refused, with what is wrong, where they are built."""
    entries = [(f"{name}[{at}]", entry.get("type"), entry.get("kwargs") or {}) for at, entry in enumerate(contract[name])]
    return [(key, kind, kwargs) for key, kind, kwargs in entries if isinstance(kind, str) and isinstance(kwargs, dict)]


def _own(contract: dict[str, Any]) -> Iterator[str]:
    """The contract's own limits."""
    for name in ("labels", "languages"):
        for value in sorted({value for value in contract[name] if contract[name].count(value) > 1}):
            yield f"{name}: {value!r} is there twice: keep one of them"
    low, high = contract["min_tokens"], contract["max_tokens"]
    if high and low > high:
        yield f"min_tokens {low} is above max_tokens {high}: no row can pass"
    if volume := contract["volume"]:
        low, high = volume["min_share"], volume["max_share"]
        if low > high:
            yield f"volume.min_share {low:g} is above volume.max_share {high:g}: no night can pass"
        elif not low <= 1 <= high:
            yield f"volume.min_share {low:g} and volume.max_share {high:g}: 1 must lie between them, or a night like all others stops"


def _twice(rules: list[Rule]) -> Iterator[str]:
    for one, two in itertools.combinations(rules, 2):
        if one[1:] == two[1:] and one[0].partition("[")[0] == two[0].partition("[")[0]:
            yield f"{one[0]} and {two[0]} are the same rule, {one[1]}: keep one of them"


def _bounds(key: str, kind: str, kwargs: dict[str, Any]) -> Iterator[str]:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if _above(low, high):
        yield f"{key}.kwargs.min_value {low} is above {key}.kwargs.max_value {high}: nothing can pass"
    elif low is not None and _number(low) == _number(high) and (kwargs.get("strict_min") or kwargs.get("strict_max")):
        yield f"{key}.kwargs.min_value and {key}.kwargs.max_value are both {low}, and one of them is strict: nothing can pass"
    if kind == IN_SET and kwargs.get("value_set") == []:
        yield f"{key}.kwargs.value_set is empty: no value can pass"


def _patterns(key: str, _: str, kwargs: dict[str, Any]) -> Iterator[str]:
    """Patterns that do not compile."""
    listed = kwargs.get("regex_list")
    patterns = [("regex", kwargs.get("regex"))] + [
        (f"regex_list[{at}]", regex) for at, regex in enumerate(listed if isinstance(listed, list) else [])
    ]
    for name, pattern in patterns:
        try:
            re.compile(pattern if isinstance(pattern, str) else "")
        except (re.error, OverflowError, RecursionError) as error:
            yield f"{key}.kwargs.{name}: {pattern!r} is no regular expression: {error}"


def _against_the_rest(contract: dict[str, Any], key: str, kind: str, kwargs: dict[str, Any]) -> Iterator[str]:
    """A rule against the labels and the limits beside it."""
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    labels, values = contract["labels"], _values(kwargs)
    if labels and kwargs.get("column") == "label":
        if kind in (IN_SET, CONTAIN) and (unknown := [value for value in values if value not in labels]):
            yield f"{key}.kwargs.value_set names {', '.join(map(repr, unknown[:5]))}, which labels does not have: add or drop it"
        if kind == NOT_IN_SET and set(labels) <= {value for value in values if isinstance(value, str)}:
            yield f"{key}.kwargs.value_set forbids every one of labels: no row can pass"
        if kind == NULL:
            yield f"{key} wants label to be null, and labels wants one of {len(labels)}: no row can pass"
        if kind == DISTINCT and _above(low, len(labels)):
            yield f"{key}.kwargs.min_value {low} is above the {len(labels)} of labels: no night can pass"
    if kind == ROW_COUNT and _above(contract["min_rows"], high):
        yield f"min_rows {contract['min_rows']} is above {key}.kwargs.max_value {high}: no night can pass"
    if kind == BETWEEN[1] and kwargs.get("column") in ("text", "reply") and _above(low, contract["max_text_bytes"]):
        yield f"{key}.kwargs.min_value {low} is above max_text_bytes {contract['max_text_bytes']}: no row can pass"


def _pair(one: Rule, two: Rule) -> Iterator[str]:
    """Two rules on one column, looked at from the first."""
    (key, kind, kwargs), (other, other_kind, others), column = one, two, one[2].get("column")
    if (kind, other_kind) == (NOT_NULL, NULL):
        yield f"{key} wants {column} not to be null, {other} wants it to be null: no row can pass"
    if kind == IN_SET and other_kind == IN_SET and key < other:
        mine, theirs = _values(kwargs), _values(others)
        if mine and theirs and not any(value in theirs for value in mine):
            yield f"{key}.kwargs.value_set and {other}.kwargs.value_set have no value of {column} in common: no row can pass"
    if (kind, other_kind) == (IN_SET, NOT_IN_SET):
        mine, theirs = _values(kwargs), _values(others)
        if mine and all(value in theirs for value in mine):
            yield f"{other}.kwargs.value_set forbids every value that {key}.kwargs.value_set allows {column}: no row can pass"
    if kind == other_kind and kind in BETWEEN and _above(kwargs.get("min_value"), others.get("max_value")):
        yield (
            f"{key}.kwargs.min_value {kwargs['min_value']} is above {other}.kwargs.max_value {others['max_value']} "
            f"of the same column {column}: no row can pass"
        )


def _values(kwargs: dict[str, Any]) -> list[Any]:
    found = kwargs.get("value_set")
    return found if isinstance(found, list) else []


def _above(low: object, high: object) -> bool:
    """Whether two bounds cross; of bounds that cannot be compared Great Expectations says what is wrong."""
    one, two = _number(low), _number(high)
    return one is not None and two is not None and one > two


def _number(value: object) -> float | None:
    """A number, or a time as seconds; None for anything else."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = value.isoformat()
    try:
        time = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()
