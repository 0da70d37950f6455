"""Great Expectations, held so that nothing fails in silence.

GX leaves an unknown expectation type out of a suite without a word, reports a metric that broke as an empty result, and
compares a time column with an ISO string by raising: each is turned into a UserError that names the file and the key,
or into the right type, before or after the check.
"""

import copy
import datetime
import difflib
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation.records import TABLES

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

TIMES = tuple(name for name, kind in TABLES["traffic"].items() if kind == "timestamp")
MAPS = ("ColumnMapExpectation", "ColumnPairMapExpectation", "MulticolumnMapExpectation")
COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")
WROTE = ("text", "reply", "subject_id", "row_id", "conversation_id", "attributes")  # columns whose values may be a person's
AT = "position"  # the frame's row, from 0


class Rule(NamedTuple):
    """One expectation of the contract."""

    key: str  # file: rows[2]
    type: str
    kwargs: dict[str, Any]  # as written
    reason: str
    expectation: "Expectation"
    maps: bool  # asks something of each row
    typed: dict[str, Any]  # the arguments with times for a time column

    def columns(self) -> set[str]:
        """The columns that it looks at; all of them where it does not say."""
        named = {name for key in COLUMN_KEYS for name in _listed(self.kwargs.get(key))}
        if self.type.startswith(("expect_table_row_count", "expect_table_column", "expect_column_to_exist")):
            return set()
        return set(TABLES["traffic"]) if not named or self.kwargs.get("row_condition") else named


class Seen(NamedTuple):
    """What Great Expectations said of one rule."""

    success: bool
    result: dict[str, Any]  # as it gives it, without values of rows
    rows: list[int]  # positions of the rows that break it


def build(entries: list[dict[str, Any]], where: str, of_rows: bool) -> list[Rule]:
    """Rules from the contract; raises UserError with the key and what is known for a wrong type, column or argument."""
    return [_rule(entry, f"{where}[{at}]", of_rows) for at, entry in enumerate(entries)]


def ask(frame: "pd.DataFrame", rules: Sequence[Rule]) -> list[Seen]:
    """What Great Expectations finds in a frame, in the order of the rules; raises UserError for what cannot be computed."""
    if not rules:
        return []
    import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it sets INFO itself
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    suite = context.suites.add(gx.ExpectationSuite(name="contract", expectations=[copy.copy(rule.expectation) for rule in rules]))
    if len(suite.expectations) != len(rules):
        raise AssertionError(f"Great Expectations took {len(suite.expectations)} of {len(rules)} rules")
    numbered = frame.reset_index(drop=True).assign(**{AT: range(len(frame))})
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("traffic")
    batch = asset.add_batch_definition_whole_dataframe("night").get_batch({"dataframe": numbered})
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": [AT], "return_unexpected_index_query": False}
    found = batch.validate(suite, result_format=form | {"exclude_unexpected_values": True}).to_json_dict()["results"]
    by_key = {result["expectation_config"]["meta"]["key"]: result for result in found}
    return [_seen(rule, by_key[rule.key]) for rule in rules]


def _rule(entry: dict[str, Any], key: str, of_rows: bool) -> Rule:
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations import registry
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from pydantic.v1 import ValidationError

    if wrong := set(map(str, entry)) - {"type", "kwargs", "meta"}:
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
        raise UserError(f"{key}.type: {kind} speaks of the whole table, not of rows: move it to table")
    _known_columns(kwargs, key)
    typed = _timed(kwargs, key)
    try:
        expectation = ExpectationConfiguration(type=kind, kwargs=typed, meta={"key": key}).to_domain_obj()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        allowed = ", ".join(sorted(_arguments(registry.get_expectation_impl(kind))))
        raise UserError(f"{key}.kwargs: {kind}: {wrong}; allowed here: {allowed}") from None
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise UserError(f"{key}: {kind}: {error}") from None
    return Rule(key, kind, kwargs, str(meta.get("reason") or kind), expectation, is_map, typed)


def _arguments(kind: "type[Expectation]") -> set[str]:
    """The keyword arguments that are the expectation's own."""
    own = {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity", "windows", "batch_id"}
    return set(kind.__fields__) - own


def _known_columns(kwargs: dict[str, Any], key: str) -> None:
    for name in COLUMN_KEYS:
        for column in _listed(kwargs.get(name)):
            if not isinstance(column, str) or column not in TABLES["traffic"]:
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


def _listed(value: object) -> Iterable[Any]:
    """The values of a list, a single one as a list of it."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _seen(rule: Rule, result: dict[str, Any]) -> Seen:
    raised = result.get("exception_info") or {}
    if raised.get("raised_exception") or (raised and "raised_exception" not in raised):
        details = [raised] if "raised_exception" in raised else list(raised.values())
        why = str(next((d.get("exception_message") for d in details if isinstance(d, dict)), raised)).splitlines()
        raise UserError(f"{rule.key}: {rule.type} could not be checked with {rule.kwargs}: {why[0][:300] if why else 'no message'}")
    found = {name: value for name, value in result["result"].items() if "index" not in name}
    listed = [entry[AT] for entry in result["result"].get("unexpected_index_list") or []]
    rows = {at for value in listed for at in (value if isinstance(value, list) else [value])}
    return Seen(bool(result["success"]), _without_values(rule, found), sorted(rows))


def _without_values(rule: Rule, found: dict[str, Any]) -> dict[str, Any]:
    """A result that shows no value of a column that a person may have written: it ends on a page and in a message."""
    observed = found.get("observed_value")
    if not rule.columns() & set(WROTE) or observed is None or isinstance(observed, int | float):
        return found
    shown = f"{len(observed):,} values" if isinstance(observed, list) else "a value"
    return {"observed_value": f"{shown}, not shown: people may have written them"}
