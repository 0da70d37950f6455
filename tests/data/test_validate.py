"""A row that breaks the contract is quarantined with its reason; a table that does stops the night; no rule is dropped."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.data.contract.checking import Result
from pipelines.data.contract.docs import Held, Outcome, render
from pipelines.data.ingest import ingest
from pipelines.data.validate import validate
from pipelines.errors import NightStopped, UserError
from pipelines.foundation.step import open_night
from tests import tokens

NIGHT = "2026-11-20"
TEXTS = ["where is my card", "x", "my card was <script>alert(1)</script>", "where is my new card", "please help me"]
LENGTH = {
    "type": "expect_column_value_lengths_to_be_between",
    "kwargs": {"column": "text", "min_value": 3},
    "meta": {"reason": "text_length"},
}
WORDS = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "text", "regex": " "}}


@pytest.fixture
def check(house: Callable[..., Path]) -> Callable[..., dict]:
    """`check(texts, **contract)` ingests the texts as one file and validates the night."""

    def run(texts: list[str] | None = None, at: str = "2026-11-20T10:00:00Z", **contract: object) -> dict:
        made = [
            {"text": text, "label": "red", "at": at, "n": n, "who": f"u-{n % 3}"}
            for n, text in enumerate(TEXTS if texts is None else texts)
        ]
        sample = {"sample/a.jsonl": "".join(json.dumps(row) + "\n" for row in made)}
        columns = {"text": "text", "label": "label", "created_at": "at", "row_id": "n", "subject_id": "who"}
        contract = {"labels": ["red", "blue"], "max_quarantine_share": 1} | contract
        house(files=sample, sources=[{"path": "sample", "columns": columns}], contract=contract)
        ingest("small", "local", NIGHT)
        return validate("small", "local", NIGHT)

    return run


def quarantine() -> list[dict]:
    lake = open_night("small", "local", NIGHT).lake
    return sorted(lake.read("quarantine", lake.version("quarantine"), where="step = 'validate'").to_pylist(), key=lambda row: row["line"])


def test_a_row_that_breaks_a_rule_is_quarantined_with_its_reason(check: Callable[..., dict]) -> None:
    result = check(rows=[LENGTH])
    assert (result["accepted"], result["quarantined"], result["reasons"]) == (4, 1, {"text_length": 1})
    row = quarantine()[0]
    assert (row["line"], row["reason"], Path(row["source"]).name, json.loads(row["raw"])["text"]) == (2, "text_length", "a.jsonl", "x")
    assert "min_value 3" in row["detail"]


def test_a_row_that_breaks_two_rules_is_one_row_and_names_both(check: Callable[..., dict]) -> None:
    assert check(rows=[WORDS, LENGTH])["quarantined"] == 1
    assert quarantine()[0]["reason"] == "expect_column_values_to_match_regex"
    assert "value_lengths" in quarantine()[0]["detail"]


def test_of_rows_that_should_be_unique_the_first_is_kept(check: Callable[..., dict]) -> None:
    unique = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "subject_id"}, "meta": {"reason": "repeated"}}
    assert check(rows=[unique])["accepted"] == 3
    assert [row["line"] for row in quarantine()] == [4, 5]


def test_validating_again_does_nothing_and_leaves_the_same_rows(check: Callable[..., dict]) -> None:
    first = check(rows=[LENGTH])
    assert validate("small", "local", NIGHT) == first | {"memo": True}
    check(rows=[LENGTH], min_rows=2)
    assert len(quarantine()) == 1


@pytest.mark.parametrize(
    ("contract", "told"),
    [
        ({"min_rows": 8}, "min_rows: expected at least 8 rows; observed 5 rows, 3 too few"),
        ({"max_age_days": 1, "at": "2026-11-15T00:00:00Z"}, "observed the newest row is of 2026-11-15, 5 day(s) old, 4 too old"),
        ({"rows": [LENGTH], "max_quarantine_share": 0.1}, "observed 20.0% (1 of 5), 10.0% of the rows too many"),
        (
            {"table": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 9}}]},
            "expect_table_row_count_to_be_between: expected min_value 9; observed 5, 4 below",
        ),
        (
            {"table": [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "created_at", "min_value": "2026-11-21"}}]},
            "expected column created_at, min_value 2026-11-21; observed 5 of 5 rows break it",
        ),
        ({"texts": []}, "min_rows: expected at least 1 rows; observed 0 rows"),
        ({"texts": ["", " "], "max_quarantine_share": 0.5}, "observed 100.0% (2 of 2)"),
    ],
)
def test_a_broken_table_rule_stops_the_night_and_says_by_how_much(
    check: Callable[..., dict], contract: dict, told: str, tmp_path: Path
) -> None:
    with pytest.raises(NightStopped) as raised:
        check(**contract)
    assert told in str(raised.value)
    assert "stopped by" in (tmp_path / "state" / "reports" / "small" / NIGHT / "validation.html").read_text()


def test_every_broken_rule_is_in_one_message(check: Callable[..., dict]) -> None:
    with pytest.raises(NightStopped, match="(?s)broke 2 rule.*min_rows.*max_age_days"):
        check(min_rows=8, max_age_days=1, at="2026-11-15")


@pytest.mark.parametrize(
    ("section", "entry", "told"),
    [
        ("rows", {"type": "expect_column_values_to_be_uniqe", "kwargs": {"column": "text"}}, "known are expect_column_values_to_be_unique"),
        ("table", {"kwargs": {}}, "there is no expectation None; known are expect_column_distinct"),
        ("rows", {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}, "move it to table"),
        ("rows", LENGTH | {"kwargs": {"column": "txt"}}, "no column 'txt'; the columns are row_id, file"),
        ("rows", LENGTH | {"kwargs": {"column": "text", "minimum": 3}}, "allowed here: column, "),
        ("rows", LENGTH | {"kwargs": {"column": "text", "min_value": "many"}}, "not a valid integer"),
        ("rows", LENGTH | {"reason": "short"}, "allowed here: type, kwargs, meta"),
        ("rows", {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "text", "regex": "("}}, "is no regular expression"),
        ("table", {"type": "expect_column_max_to_be_between", "kwargs": {"column": "created_at", "max_value": "soon"}}, "write a time as"),
    ],
)
def test_a_wrong_rule_names_the_file_the_key_and_what_is_known(check: Callable[..., dict], section: str, entry: dict, told: str) -> None:
    with pytest.raises(UserError) as raised:
        check(**{section: [*([WORDS] if section == "rows" else []), entry]})
    place = 1 if section == "rows" else 0
    assert f"usecases/small/contract.yaml: {section}[{place}]" in str(raised.value) and told in str(raised.value)


def test_time_bounds_as_text_are_compared_as_times(check: Callable[..., dict]) -> None:
    bounds = {"column": "created_at", "min_value": "2026-11-20T09:00:00Z", "max_value": "2026-11-20 23:00"}
    assert check(rows=[{"type": "expect_column_values_to_be_between", "kwargs": bounds}])["accepted"] == 5


def test_the_page_is_one_file_that_escapes_what_came_from_data(check: Callable[..., dict]) -> None:
    page = Path(check(rows=[LENGTH])["docs"]).read_text()
    assert "text_length" in page and "4 accepted" in page
    assert "http" not in page and "<script" not in page
    evil = '<img src=x onerror="alert(1)">'
    results = [Result(evil, evil, evil, False, evil)]
    assert "<img" not in render(
        evil, NIGHT, Outcome(1, 1, 0, 0), Held(evil, evil, [evil], {evil: evil}), results, results, [(evil, evil, evil, 1)]
    )


def report(tmp_path: Path, name: str, night: str = NIGHT) -> str:
    return (tmp_path / "state/reports/small" / night / name).read_text()


GERMAN = "Ich warte seit drei Wochen auf meine neue Karte und niemand hilft mir"
ENGLISH = "I have been waiting for my new card for three weeks and nobody helps me"


def test_a_text_in_another_language_is_quarantined_and_a_short_one_is_not_judged(check: Callable[..., dict]) -> None:
    texts = [ENGLISH, GERMAN, "Karte weg", "???"]
    assert check(texts, languages=["en"])["reasons"] == {"language": 1}
    assert [row["line"] for row in quarantine()] == [2]
    assert check(texts, languages=["en", "de"])["quarantined"] == 0


def test_an_unknown_language_names_those_that_are_known(check: Callable[..., dict]) -> None:
    with pytest.raises(UserError, match=r"contract.yaml: languages: there is no language 'english'; known are .*en.*fr"):
        check(languages=["english"])


def test_a_text_is_measured_in_the_models_tokens(check: Callable[..., dict], tmp_path: Path) -> None:
    tokens.build(tmp_path / "state/models", [ENGLISH] * 3)
    texts = [ENGLISH, "hi", "\u65e5\u672c\u8a9e " * 9, "x " * 5000]
    found = check(texts, min_tokens=3, max_tokens=40)
    assert found["reasons"] == {"token_length": 3}
    assert "at least 3 and at most 40 tokens of SmolLM2" in quarantine()[0]["detail"]
    assert check(texts, max_tokens=20_000)["quarantined"] == 0


def test_the_first_reason_is_that_of_the_contracts_order(check: Callable[..., dict], tmp_path: Path) -> None:
    tokens.build(tmp_path / "state/models", [ENGLISH])
    assert check(["x", "my card"], rows=[LENGTH], min_tokens=2)["reasons"] == {"text_length": 1}
    assert quarantine()[0]["detail"].startswith("expect_column_value_lengths_to_be_between") and "tokens" in quarantine()[0]["detail"]


def test_great_expectations_own_page_is_whole_and_runs_nothing(check: Callable[..., dict], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    table = [{"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "source", "value_set": [evil]}, "meta": {}}]
    with pytest.raises(NightStopped):
        check(rows=[LENGTH], table=table)
    page = report(tmp_path, "data_docs.html")
    assert "default-src 'none'" in page and "between 3" in page.replace("  ", " ") or "greater than or equal to" in page
    assert not any(mark in page for mark in ("<script", "<img", "<link", "http:", "https:"))
    assert "data_docs.html" in report(tmp_path, "validation.html")


def test_no_page_or_message_shows_what_a_person_wrote(check: Callable[..., dict], tmp_path: Path) -> None:
    table = [{"type": "expect_column_most_common_value_to_be_in_set", "kwargs": {"column": "text", "value_set": ["a"]}}]
    with pytest.raises(NightStopped, match="not shown: people may have written them") as raised:
        check(table=table)
    assert "my card" not in str(raised.value) + report(tmp_path, "data_docs.html") + report(tmp_path, "validation.html")


def test_rows_that_are_nothing_new_do_not_count_as_refused(check: Callable[..., dict], tmp_path: Path) -> None:
    assert check(["a message"] * 8 + ["another"], max_quarantine_share=0.1)["accepted"] == 4
    assert "duplicates aside" in report(tmp_path, "validation.html")


def test_a_night_with_every_row_refused_is_stopped_and_its_rows_are_kept(check: Callable[..., dict]) -> None:
    with pytest.raises(NightStopped, match="min_rows.*0 rows, 1 too few"):
        check(["a", "b"], rows=[LENGTH], max_age_days=1)
    assert [row["reason"] for row in quarantine()] == ["text_length", "text_length"]


def test_a_column_of_nulls_breaks_only_the_rule_about_nulls(check: Callable[..., dict]) -> None:
    rules = [{"type": f"expect_column_value{kind}", "kwargs": {"column": "reply"} | kwargs} for kind, kwargs in NULL_RULES]
    assert check(rows=rules)["quarantined"] == 0
    missing = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "reply"}, "meta": {"reason": "reply_missing"}}
    with pytest.raises(NightStopped, match="min_rows"):
        check(rows=[*rules, missing])
    assert {row["reason"] for row in quarantine()} == {"reply_missing"}


NULL_RULES = [
    ("s_to_match_regex", {"regex": "^a"}),
    ("s_to_be_in_set", {"value_set": ["a"]}),
    ("s_to_be_unique", {}),
    ("_lengths_to_be_between", {"min_value": 2}),
    ("s_to_match_regex_list", {"regex_list": ["^a"]}),
]


def test_a_night_without_rows_passes_where_the_contract_allows_it(check: Callable[..., dict]) -> None:
    table = [{"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 9}}]
    rules = [*({"type": f"expect_column_value{kind}", "kwargs": {"column": "reply"} | kwargs} for kind, kwargs in NULL_RULES)]
    assert check([], min_rows=0, rows=rules, table=table, languages=["en"], max_age_days=1)["accepted"] == 0


def test_many_rows_are_written_to_quarantine_in_batches(check: Callable[..., dict], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.data.contract.spool.BATCH_ROWS", 7)
    texts = ["x" * (n % 2 * 5 + 1) + str(n) for n in range(100)]
    assert check(texts, rows=[LENGTH | {"kwargs": {"column": "text", "min_value": 4}}])["quarantined"] == 50
    assert [row["line"] for row in quarantine()] == list(range(1, 101, 2))
