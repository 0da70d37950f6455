"""Check a night's rows against the contract in bounded memory: the common rules pushed down, the others by Great Expectations.

A rule that asks something of each row alone is checked a batch at a time; uniqueness by the hashes of a column and then
exactly on the rows whose hashes repeat; whatever else there is by Great Expectations on the columns that it needs.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.data.contract import pushdown
from pipelines.data.contract.expectations import Rule, Seen, ask
from pipelines.data.contract.spool import Spool

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

WHOLE = (  # a batch is not enough for these, nor for what this list does not know
    *("expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing", "expect_column_value_z_scores_to_be_less_than"),
    *("expect_column_values_to_not_be_outliers", "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list"),
    *(pushdown.UNIQUE, "expect_compound_columns_to_be_unique", "expect_multicolumn_values_to_be_unique"),
)
REPEATS = (pushdown.UNIQUE, "expect_compound_columns_to_be_unique")  # of which the first row is kept


class Check(NamedTuple):
    """Something beside the expectations that each row must pass."""

    name: str
    expected: str
    reason: str
    column: str
    broken: "Callable[[pa.Array], np.ndarray]"  # bool [rows]


class Result(NamedTuple):
    """What checking one rule gave, for people."""

    name: str
    expected: str
    observed: str
    passed: bool
    reason: str = ""
    refused: int = 0  # rows that go to quarantine for it


class Found(NamedTuple):
    """What checking one rule gave."""

    result: Result
    rows: "np.ndarray"  # numbers of the rows that break it, ascending
    rule: Rule | None = None  # None: no expectation of Great Expectations
    seen: Seen | None = None


class Tally:
    """Counts of one rule over batches."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.rows = self.missing = self.unexpected = 0
        self.parts: list[np.ndarray] = []

    def add(self, at: int, rows: int, missing: int, broken: "np.ndarray") -> None:
        """One batch: its first row's number, its rows, its nulls, and the numbers within it of the rows that break the rule."""
        self.rows, self.missing, self.unexpected = self.rows + rows, self.missing + missing, self.unexpected + len(broken)
        if len(broken):
            self.parts.append(broken + at)

    def positions(self) -> "np.ndarray":
        """Numbers of the rows that break the rule."""
        import numpy as np

        return np.concatenate(self.parts) if self.parts else np.empty(0, np.int64)


def check(spool: Spool, rules: Sequence[Rule], checks: Sequence[Check] = (), chosen: "np.ndarray | None" = None) -> list[Found]:
    """What each rule and then each check finds, in their order, among the rows that the mask `chosen` (bool [rows]) names, or all.

    Raises UserError for a rule that cannot be computed.
    """
    pushed = {rule.key: pushdown.broken(rule.type, rule.typed) for rule in rules if rule.type != pushdown.UNIQUE and _fits(rule)}
    repeats = [rule for rule in rules if rule.type == pushdown.UNIQUE and _fits(rule)]
    others = [rule for rule in rules if rule.key not in pushed and rule not in repeats]
    batched = [rule for rule in others if rule.maps and rule.type not in WHOLE and _is_known(rule)]
    tallies = _tally(spool, rules, pushed, batched, checks, chosen)
    found = {rule.key: _counted(rule, tallies[rule.key]) for rule in rules if rule.key in tallies}
    found |= {rule.key: _repeated(spool, rule, chosen) for rule in repeats}
    found |= _whole(spool, [rule for rule in others if rule not in batched], chosen)
    return [found[rule.key] for rule in rules] + [_checked(one, tallies[one.name]) for one in checks]


def _fits(rule: Rule) -> bool:
    return pushdown.fits(rule.type, rule.typed)


def _is_known(rule: Rule) -> bool:
    """Whether an expectation is Great Expectations' own; of another one nobody knows what it makes of a part of the rows."""
    own = type(rule.expectation).__module__.startswith("great_expectations.expectations.core.")
    return own and isinstance(rule.typed.get("mostly", 1), int | float)


def _tally(
    spool: Spool,
    rules: Sequence[Rule],
    pushed: "dict[str, pushdown.Broken]",
    batched: Sequence[Rule],
    checks: Sequence[Check],
    chosen: "np.ndarray | None",
) -> dict[str, Tally]:
    """One pass over the rows for everything that a batch can tell."""
    import numpy as np
    import pyarrow as pa

    work = [(rule.key, rule.typed["column"], pushed[rule.key], rule.type in pushdown.OF_NULLS) for rule in rules if rule.key in pushed]
    work += [(one.name, one.column, one.broken, False) for one in checks]
    columns = {column for _, column, _, _ in work} | {name for rule in batched for name in rule.columns()}
    tallies = {key: Tally() for key in [*(entry[0] for entry in work), *(rule.key for rule in batched)]}
    gaps = _with_nulls(spool, columns & {"turn", "line"}, chosen) if batched else set()
    for at, batch in spool.batches(columns) if tallies else ():
        places = np.arange(batch.num_rows) if chosen is None else np.flatnonzero(chosen[at : at + batch.num_rows])
        batch = batch.take(pa.array(places)) if chosen is not None else batch
        for key, name, broken, of_nulls in work:
            column = batch.column(name)
            tallies[key].add(at, len(column), 0 if of_nulls else column.null_count, places[np.flatnonzero(broken(column))])
        if batched:
            frame = _frame(batch, gaps)
            for rule, seen in zip(batched, ask(frame, batched), strict=True):
                counts = (seen.result["element_count"], seen.result.get("missing_count", 0))  # of the rows that its row_condition names
                tallies[rule.key].add(at, *counts, places[np.array(seen.rows, np.int64)])
    return tallies


def _counted(rule: Rule, tally: Tally, rows: "np.ndarray | None" = None) -> Found:
    """As Great Expectations' ColumnMapExpectation does: the share of those that are not null, against `mostly`."""
    asked = tally.rows - tally.missing
    success = not asked or (asked - tally.unexpected) / asked >= rule.kwargs.get("mostly", 1)
    of_nulls = rule.type in pushdown.OF_NULLS
    result: dict[str, Any] = {
        "element_count": tally.rows,
        "unexpected_count": tally.unexpected,
        "unexpected_percent": tally.unexpected / asked * 100 if asked else None,
    }
    if not of_nulls:
        result["missing_count"] = tally.missing
        result["missing_percent"] = tally.missing / tally.rows * 100 if tally.rows else None
        result["unexpected_percent_total"] = tally.unexpected / tally.rows * 100 if tally.rows else None
        result["unexpected_percent_nonmissing"] = result["unexpected_percent"]
    return _found(rule, Seen(success, result, []), tally.positions() if rows is None else rows)


def _repeated(spool: Spool, rule: Rule, chosen: "np.ndarray | None") -> Found:
    """A column whose values must not repeat: hashes first, then the values of the rows whose hashes repeat."""
    import numpy as np
    import pandas as pd

    name, tally = rule.typed["column"], Tally()
    marks, there = np.empty(spool.rows, np.uint64), np.ones(spool.rows, bool) if chosen is None else chosen.copy()
    for at, batch in spool.batches([name]):
        column, part = batch.column(name), slice(at, at + batch.num_rows)
        tally.add(at, int(there[part].sum()), int((~column.is_valid().to_numpy(zero_copy_only=False) & there[part]).sum()), np.empty(0))
        there[part] &= column.is_valid().to_numpy(zero_copy_only=False)
        marks[part] = pushdown.hashes(column)
    places = np.flatnonzero(there)
    suspects = places[pd.Series(marks[places]).duplicated(keep=False).to_numpy()]
    again = np.empty(0, np.int64)
    if len(suspects):
        mask = np.zeros(spool.rows, bool)
        mask[suspects] = True
        frame = spool.take([name, "file", "line"], mask).to_pandas().set_index(suspects)
        tally.unexpected = int(frame[name].duplicated(keep=False).sum())
        again = _later(frame, [name])
    return _counted(rule, tally, again)


def _later(frame: "pd.DataFrame", columns: list[str]) -> "np.ndarray":
    """Of rows with the same values all but the first by file and line, which does not depend on the order that the lake gave."""
    import numpy as np

    ordered = frame.sort_values(["file", "line"], kind="stable")
    return np.sort(ordered.index[ordered.duplicated(columns, keep="first")].to_numpy(np.int64))


def _whole(spool: Spool, rules: Sequence[Rule], chosen: "np.ndarray | None") -> dict[str, Found]:
    """Great Expectations on all rows of the columns that it needs; of a table of no interest but its columns no row."""
    import numpy as np

    found: dict[str, Found] = {}
    mask = np.ones(spool.rows, bool) if chosen is None else chosen
    for of_columns in (True, False):
        some = [rule for rule in rules if rule.type.startswith(("expect_table_column", "expect_column_to_exist")) == of_columns]
        if not some:
            continue
        wanted = {name for rule in some for name in rule.columns()} | ({"file", "line"} if any(r.type in REPEATS for r in some) else set())
        table = spool.take(spool.columns if of_columns else wanted or {"line"}, mask & False if of_columns else mask)
        frame, places = table.to_pandas(), np.flatnonzero(mask)
        for rule, seen in zip(some, ask(frame, some), strict=True):
            rows = np.array(seen.rows, np.int64)
            if rule.type in REPEATS and len(rows):
                rows = _later(frame.iloc[rows], rule.kwargs.get("column_list") or [rule.kwargs["column"]])
            found[rule.key] = _found(rule, seen, places[rows])
    return found


def _found(rule: Rule, seen: Seen, rows: "np.ndarray") -> Found:
    expected = ", ".join(f"{name} {value}" for name, value in rule.kwargs.items())
    observed, count = seen.result.get("observed_value"), seen.result.get("unexpected_count")
    if count is not None and "element_count" in seen.result:
        observed = f"{count:,} of {seen.result['element_count']:,} rows break it"
    told = str(observed) + _distance(rule, seen)
    return Found(Result(rule.type, expected, told, seen.success, rule.reason, len(rows)), rows, rule, seen)


def _checked(one: Check, tally: Tally) -> Found:
    observed = f"{tally.unexpected:,} of {tally.rows:,} rows break it"
    return Found(Result(one.name, one.expected, observed, not tally.unexpected, one.reason, tally.unexpected), tally.positions())


def _distance(rule: Rule, seen: Seen) -> str:
    """By how much a bound is missed, where both are numbers."""
    observed = seen.result.get("observed_value")
    if seen.success or isinstance(observed, bool) or not isinstance(observed, int | float):
        return ""
    low, high = rule.kwargs.get("min_value"), rule.kwargs.get("max_value")
    if isinstance(low, int | float) and observed < low:
        return f", {low - observed:g} below"
    return f", {observed - high:g} above" if isinstance(high, int | float) and observed > high else ""


def _with_nulls(spool: Spool, columns: set[str], chosen: "np.ndarray | None") -> set[str]:
    """Whole-number columns that have a null somewhere: pandas makes fractions of all their values, in every batch or in none."""
    import pyarrow as pa

    found = set()
    for at, batch in spool.batches(columns) if columns else ():
        part = batch if chosen is None else batch.filter(pa.array(chosen[at : at + batch.num_rows]))
        found |= {name for name in columns if part.column(name).null_count}
    return found


def _frame(batch: "pa.RecordBatch", gaps: set[str]) -> "pd.DataFrame":
    return batch.to_pandas().astype({name: "float64" for name in batch.schema.names if name in gaps})
