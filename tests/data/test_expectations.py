"""A rule that is pushed down finds exactly the rows that Great Expectations itself finds, on random rows of many seeds."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipelines.data.contract import pushdown, spool
from pipelines.data.contract.checking import REPEATS, check
from pipelines.data.contract.expectations import Rule, ask, build
from pipelines.errors import UserError
from pipelines.foundation import records
from pipelines.sections import Contract, contradictions

WORDS = [
    "",
    "a",
    "ab",
    "Ab\n",
    "u-12",
    "u-12\n",
    "card",
    "ä",
    "日本語",
    "e\u0301",
    "\U0001f600",
    "null",
    "nan",
    "None",
    "a.c",
    "12",
    "\t x",
]
SET = {"value_set": ["a", "card", "日本語", "nan"]}
RULES = [
    *[("expect_column_values_to_not_be_null", {"column": name}) for name in ("text", "turn", "created_at")],
    ("expect_column_values_to_be_null", {"column": "label", "mostly": 0.3}),
    ("expect_column_values_to_be_in_set", {"column": "text", **SET}),
    ("expect_column_values_to_be_in_set", {"column": "turn", "value_set": [1, 2.0, 7], "mostly": 0.5}),
    ("expect_column_values_to_not_be_in_set", {"column": "text", **SET}),
    ("expect_column_values_to_not_be_in_set", {"column": "turn", "value_set": [3]}),
    *[
        ("expect_column_values_to_match_regex", {"column": "text", "regex": regex})
        for regex in (r"^u-[0-9]+$", r"\d", "(?i)CARD|^a", "(?<!u)-", r"\w+\Z")
    ],
    ("expect_column_values_to_not_match_regex", {"column": "text", "regex": "^a"}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 2, "max_value": 4}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 1, "strict_min": True, "mostly": 0.4}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "max_value": 4, "strict_max": True}),
    ("expect_column_value_lengths_to_equal", {"column": "text", "value": 2}),
    ("expect_column_values_to_be_between", {"column": "turn", "min_value": 2, "max_value": 5, "strict_max": True}),
    ("expect_column_values_to_be_between", {"column": "turn", "min_value": 1.5, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "line", "min_value": 3, "max_value": 9, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "created_at", "min_value": "2026-11-20T00:00:05Z", "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "created_at", "max_value": "2026-11-20 00:00:07"}),
    *[("expect_column_values_to_be_unique", {"column": name}) for name in ("text", "turn", "created_at")],
]
OTHERS = [
    ("expect_column_values_to_match_regex_list", {"column": "text", "regex_list": ["^a", "^u"]}),
    ("expect_column_values_to_be_json_parseable", {"column": "text"}),
    ("expect_column_value_lengths_to_equal", {"column": "turn", "value": 3}),
    ("expect_column_values_to_be_increasing", {"column": "line"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["text", "turn"]}),
    ("expect_column_values_to_not_be_null", {"column": "text", "row_condition": "turn > 2", "condition_parser": "pandas"}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "text", "column_B": "label"}),
]


def table(seed: int, rows: int = 60) -> pa.Table:
    """Random rows: many repeats, nulls more or less often, in some seeds none or nothing but."""
    luck = random.Random(seed)
    gaps = luck.choice([0, 0.1, 0.5, 1])

    def some(choices: list) -> list:
        return [None if luck.random() < gaps else luck.choice(choices) for _ in range(rows)]

    made = {
        "text": some(WORDS),
        "label": some(WORDS),
        "turn": some([*range(8)]),
        "created_at": some([1_795_132_800_000_000 + n * 10**6 for n in range(12)]),
    }
    made |= {"file": ["f"] * rows, "line": list(range(rows))}
    schema = records.schema("traffic")
    return pa.table(
        {
            name: pa.array(made.get(name) or [None] * rows, pa.int64() if name == "created_at" else schema.field(name).type).cast(
                schema.field(name).type
            )
            for name in schema.names
        }
    )


def rule(kind: str, kwargs: dict) -> Rule:
    return build([{"type": kind, "kwargs": kwargs}], "contract.yaml: rows", of_rows=True)[0]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(spool, "BATCH_ROWS", 16)
    yield


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.usefixtures("small_batches")
def test_every_rule_finds_what_great_expectations_finds(seed: int) -> None:
    rows = table(seed)
    rules = [
        build([{"type": kind, "kwargs": kwargs}], f"contract.yaml: {at}", of_rows=True)[0]
        for at, (kind, kwargs) in enumerate([*RULES, *OTHERS])
    ]
    with spool.spooled(rows.to_batches(max_chunksize=7), rows.column_names) as spooled:
        found = check(spooled, rules)
    for one, seen, ours in zip(rules, ask(rows.to_pandas(), rules), found, strict=True):
        theirs = np.array(seen.rows, int)
        if one.type in REPEATS:
            frame = rows.to_pandas().iloc[theirs]
            theirs = theirs[frame.duplicated(one.kwargs.get("column_list") or [one.kwargs["column"]], keep="first").to_numpy()]
        assert ours.rows.tolist() == theirs.tolist(), (one.type, one.kwargs)
        assert ours.result.passed == seen.success, (one.type, one.kwargs)
        assert ours.seen.result == pytest.approx({name: seen.result[name] for name in ours.seen.result}), (one.type, one.kwargs)


@pytest.mark.parametrize(("kind", "kwargs"), RULES, ids=lambda value: str(value)[:60])
def test_these_rules_are_pushed_down(kind: str, kwargs: dict) -> None:
    assert pushdown.fits(kind, rule(kind, kwargs).typed)


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        *OTHERS,
        ("expect_column_values_to_be_between", {"column": "text", "min_value": 3}),
        ("expect_column_values_to_be_in_set", {"column": "text", "value_set": ["a", 1]}),
        ("expect_column_values_to_be_in_set", {"column": "turn", "value_set": [True]}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_might_mean_something_else_is_left_to_great_expectations(kind: str, kwargs: dict) -> None:
    assert not pushdown.fits(kind, rule(kind, kwargs).typed)


@pytest.mark.usefixtures("small_batches")
def test_a_subset_of_the_rows_is_judged_on_its_own() -> None:
    rows = table(1)
    chosen = np.arange(60) % 3 != 0
    rules = [rule("expect_column_values_to_be_unique", {"column": "text"})._replace(key="u"), rule(*RULES[4])._replace(key="s")]
    with spool.spooled(rows.to_batches(), rows.column_names) as spooled:
        found = check(spooled, rules, chosen=chosen)
    part = rows.filter(pa.array(chosen))
    with spool.spooled(part.to_batches(), rows.column_names) as spooled:
        alone = check(spooled, rules)
    assert [one.rows.tolist() for one in found] == [np.flatnonzero(chosen)[one.rows].tolist() for one in alone]
    assert [one.seen for one in found] == [one.seen for one in alone]


def test_hashes_that_collide_do_not_make_rows_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(2)
    unique = rule("expect_column_values_to_be_unique", {"column": "text"})
    with spool.spooled(rows.to_batches(), rows.column_names) as spooled:
        sound = check(spooled, [unique])[0].rows.tolist()
        monkeypatch.setattr(pushdown, "hashes", lambda column: np.zeros(len(column), np.uint64))
        assert check(spooled, [unique])[0].rows.tolist() == sound


@pytest.mark.parametrize("regex", ["a{2000}", "(?#c)a", r"\N{BULLET}"])
def test_a_pattern_that_pandas_cannot_search_for_is_told_by_its_key(regex: str) -> None:
    rows = table(3)
    with (
        spool.spooled(rows.to_batches(), rows.column_names) as spooled,
        pytest.raises(UserError, match=r"rows\[0\].* could not be checked"),
    ):
        check(spooled, [rule("expect_column_values_to_match_regex", {"column": "text", "regex": regex})])


STRANGE = [None, 3, "a", [], {}, [[]], [{}], {"a": []}, True, float("nan"), "\x00", 10**40]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_rule_holds_it_is_checked_or_refused_in_one_message(seed: int) -> None:
    luck, rows = random.Random(seed), table(5, 20)
    with spool.spooled(rows.to_batches(), rows.column_names) as spooled:
        for _ in range(60):
            kind, kwargs = luck.choice([*RULES, *OTHERS])
            changed = kwargs | {luck.choice([*kwargs, "mostly", "strict_min"]): luck.choice(STRANGE)}
            entry = {"type": kind, "kwargs": changed} | luck.choice([{}, {"meta": luck.choice(STRANGE)}, {"kwargs": luck.choice(STRANGE)}])
            with contextlib.suppress(UserError):
                contract = Contract.model_construct(**Contract().model_dump() | {"rows": [entry]})
                assert isinstance(contradictions.find(contract.model_dump()), list)
                check(spooled, build([entry], "rows", of_rows=True))
