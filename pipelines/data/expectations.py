"""Great Expectations, held so that nothing fails in silence.

GX leaves an unknown expectation type out of a suite without a word, reports a metric that broke as an empty result, and
compares a time column with an ISO string by raising: each is turned into a UserError that names the file and the key,
or into the right type, before or after the check.
"""

import datetime
import difflib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation.records import TABLES

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

TIMES = tuple(name for name, kind in TABLES["traffic"].items() if kind == "timestamp")
UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
MAPS = ("ColumnMapExpectation", "ColumnPairMapExpectation", "MulticolumnMapExpectation")
COLUMN_KEYS = ("column", "column_A", "column_B", "column_list", "column_set")
AT = "position"  # the frame's row, from 0


class Rule(NamedTuple):
    """One expectation of the contract."""

    key: str  # file: contract.rows[2]
    type: str
    kwargs: dict[str, Any]
    reason: str
    expectation: "Expectation"


class Result(NamedTuple):
    """What checking one rule gave."""

    name: str
    expected: str
    observed: str
    passed: bool
    reason: str = ""
    rows: tuple[int, ...] = ()  # positions of the rows that break a row rule


def build(entries: list[dict[str, Any]], where: str, of_rows: bool) -> list[Rule]:
    """Rules from the contract; raises UserError with the key and what is known for a wrong type, column or argument."""
    return [_rule(entry, f"{where}[{at}]", of_rows) for at, entry in enumerate(entries)]


def check(frame: "pd.DataFrame", rules: list[Rule]) -> list[Result]:
    """Results in the order of the rules; raises UserError for a rule that cannot be computed."""
    if not rules:
        return []
    import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it sets INFO itself
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    suite = context.suites.add(gx.ExpectationSuite(name="contract", expectations=[rule.expectation for rule in rules]))
    if len(suite.expectations) != len(rules):
        raise AssertionError(f"Great Expectations took {len(suite.expectations)} of {len(rules)} rules")
    numbered = frame.reset_index(drop=True).assign(**{AT: range(len(frame))})
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("traffic")
    batch = asset.add_batch_definition_whole_dataframe("night").get_batch({"dataframe": numbered})
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": [AT], "return_unexpected_index_query": False}
    found = batch.validate(suite, result_format=form | {"exclude_unexpected_values": True}).to_json_dict()["results"]
    by_key = {result["expectation_config"]["meta"]["key"]: result for result in found}
    return [_result(rule, by_key[rule.key], numbered) for rule in rules]


def _rule(entry: dict[str, Any], key: str, of_rows: bool) -> Rule:
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations import registry
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from pydantic.v1 import ValidationError

    if wrong := set(entry) - {"type", "kwargs", "meta"}:
        raise UserError(f"{key}: there is no such setting {', '.join(map(repr, sorted(wrong)))}; allowed here: type, kwargs, meta")
    kind, kwargs, meta = entry.get("type"), entry.get("kwargs") or {}, entry.get("meta") or {}
    known = sorted(registry.list_registered_expectation_implementations())
    if kind not in known:
        near = difflib.get_close_matches(str(kind), known, 3, 0.6)
        raise UserError(f"{key}.type: there is no expectation {kind!r}; known are {', '.join(near or known)}")
    if not isinstance(kwargs, dict) or not isinstance(meta, dict):
        raise UserError(f"{key}: kwargs and meta must hold keys and values")
    is_map = any(base.__name__ in MAPS for base in registry.get_expectation_impl(kind).__mro__)
    if of_rows and not is_map:
        raise UserError(f"{key}.type: {kind} speaks of the whole table, not of rows: move it to contract.table")
    _known_columns(kwargs, key)
    try:
        expectation = ExpectationConfiguration(type=kind, kwargs=_timed(kwargs, key), meta={"key": key}).to_domain_obj()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        allowed = ", ".join(sorted(_arguments(registry.get_expectation_impl(kind))))
        raise UserError(f"{key}.kwargs: {kind}: {wrong}; allowed here: {allowed}") from None
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise UserError(f"{key}: {kind}: {error}") from None
    return Rule(key, kind, kwargs, str(meta.get("reason") or kind), expectation)


def _arguments(kind: "type[Expectation]") -> set[str]:
    """The keyword arguments that are the expectation's own."""
    own = {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity", "windows", "batch_id"}
    return set(kind.__fields__) - own


def _known_columns(kwargs: dict[str, Any], key: str) -> None:
    for name in COLUMN_KEYS:
        value = kwargs.get(name, [])
        for column in value if isinstance(value, list) else [value]:
            if column not in TABLES["traffic"]:
                raise UserError(f"{key}.kwargs.{name}: there is no column {column!r}; the columns are {', '.join(TABLES['traffic'])}")


def _timed(kwargs: dict[str, Any], key: str) -> dict[str, Any]:
    """Bounds of a time column, written as ISO 8601, as UTC times."""
    if kwargs.get("column") not in TIMES:
        return kwargs
    import pandas as pd

    def convert(value: object) -> object:
        if isinstance(value, list):
            return [convert(inner) for inner in value]
        if not isinstance(value, str | datetime.date):
            return value
        time = pd.Timestamp(value)
        return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")

    try:
        bounds = {name: convert(kwargs[name]) for name in ("min_value", "max_value", "value_set") if name in kwargs}
    except ValueError as error:
        raise UserError(f"{key}.kwargs: {error}: write a time as 2026-11-20 or 2026-11-20T09:30:00Z") from None
    return kwargs | bounds


def _result(rule: Rule, result: dict[str, Any], frame: "pd.DataFrame") -> Result:
    raised = result.get("exception_info") or {}
    if raised.get("raised_exception") or (raised and "raised_exception" not in raised):
        details = [raised] if "raised_exception" in raised else list(raised.values())
        why = str(next((d.get("exception_message") for d in details if isinstance(d, dict)), raised)).splitlines()
        raise UserError(f"{rule.key}: {rule.type} could not be checked with {rule.kwargs}: {why[0][:300] if why else 'no message'}")
    rows = _broken(rule, result["result"].get("unexpected_index_list") or [], frame)
    observed = result["result"].get("observed_value")
    count, total = result["result"].get("unexpected_count"), result["result"].get("element_count")
    if count is not None:
        observed = f"{count:,} of {total:,} rows break it"
    expected = ", ".join(f"{name} {value}" for name, value in rule.kwargs.items())
    return Result(rule.type, expected, str(observed) + _distance(rule, result), bool(result["success"]), rule.reason, rows)


def _broken(rule: Rule, listed: list[dict], frame: "pd.DataFrame") -> tuple[int, ...]:
    """Positions of the rows that break a rule; of rows that should be unique and are not, the first is kept."""
    found: list[int] = []
    for entry in listed:
        value = entry[AT]
        found += value if isinstance(value, list) else [value]
    if rule.type in UNIQUE and found:
        columns = rule.kwargs.get("column_list") or [rule.kwargs["column"]]
        again = frame.iloc[sorted(found)].duplicated(subset=columns, keep="first")
        found = [at for at, is_again in zip(sorted(found), again, strict=True) if is_again]
    return tuple(sorted(set(found)))


def _distance(rule: Rule, result: dict[str, Any]) -> str:
    """By how much a bound is missed, where both are numbers."""
    observed = result["result"].get("observed_value")
    if result["success"] or isinstance(observed, bool) or not isinstance(observed, int | float):
        return ""
    low, high = rule.kwargs.get("min_value"), rule.kwargs.get("max_value")
    if isinstance(low, int | float) and observed < low:
        return f", {low - observed:g} below"
    return f", {observed - high:g} above" if isinstance(high, int | float) and observed > high else ""
