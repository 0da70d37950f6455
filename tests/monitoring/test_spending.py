"""The commands that tell what was spent, what is kept, and why a step will run again."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.foundation.messages import Usage
from pipelines.foundation.purse import Purse, Wanted
from pipelines.foundation.spend import Account, Book, Paid
from pipelines.foundation.step import open_night
from pipelines.sections import Budget

House = Callable[..., Path]
Out = pytest.CaptureFixture[str]


def pay(night: str, step: str, model: str, dollars: str, settle: bool = True) -> None:
    """One call of 100 tokens read and 10 written."""
    lake = open_night("small", "local", night).lake
    purse = Purse(Book(lake), Budget(), Account(night, step, model, "r"))
    purse.reserve([Wanted(f"{night} {step} {model}", Decimal(dollars))])
    if settle:
        purse.settle([Paid(f"{night} {step} {model}", Decimal(dollars), Usage(100, 10))])


def told(out: Out, *arguments: str) -> dict:
    assert main([*arguments, "--usecase", "small", "--json"]) == 0
    return json.loads(out.readouterr().out)


def test_spending_is_told_by_night_step_and_model(house: House, capsys: Out) -> None:
    house()
    pay("2026-11-19", "evaluate", "large", "0.5")
    pay("2026-11-20", "evaluate", "large", "0.25")
    pay("2026-11-20", "synthesize", "small", "0.125")
    pay("2026-11-20", "synthesize", "large", "0.0625", settle=False)
    found = {by: {line[by]: line["dollars"] for line in told(capsys, "spend", "--by", by)["lines"]} for by in ("night", "step", "model")}
    assert found == {
        "night": {"2026-11-19": "0.5", "2026-11-20": "0.375"},
        "step": {"evaluate": "0.75", "synthesize": "0.125"},
        "model": {"large": "0.75", "small": "0.125"},
    }
    total = told(capsys, "spend")["total"]
    assert (total["calls"], total["prompt"], total["completion"], total["dollars"], total["reserved"]) == (3, 300, 30, "0.875", "0.0625")


def test_a_use_case_that_spent_nothing_says_so(house: House, capsys: Out) -> None:
    house()
    assert main(["spend", "--usecase", "small"]) == 0
    assert capsys.readouterr().out == "small: nothing was spent\n"


def test_a_person_reads_a_table(house: House, capsys: Out) -> None:
    house()
    pay("2026-11-20", "evaluate", "large", "0.25")
    main(["spend", "--usecase", "small", "--by", "step"])
    head, line, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["step", "calls", "prompt", "cached", "completion", "dollars", "unsure", "reserved"]
    assert line.split() == ["evaluate", "1", "100", "0", "10", "0.25", "0", "0"] and total.split()[0] == "total"


def test_why_names_every_step_of_a_night_that_has_not_run(house: House, capsys: Out) -> None:
    config = house()
    sample = config / "usecases" / "small" / "sample"
    sample.mkdir()
    (sample / "2026-11-20.csv").write_text("text,label\nthe sky,blue\n")
    assert main(["memo", "why", "--usecase", "small", "--night", "2026-11-20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ingest        will run: it never ran for this night" and len(lines) == 13


def test_why_names_the_setting_that_changed(house: House, capsys: Out) -> None:
    for rows in (1, 2):
        config = house(contract={"labels": ["blue"], "min_rows": rows})
        sample = config / "usecases" / "small" / "sample"
        sample.mkdir(exist_ok=True)
        (sample / "2026-11-20.csv").write_text("text,label\nthe sky,blue\n")
        if rows == 1:
            told(capsys, "ingest", "--night", "2026-11-20")
    found = told(capsys, "memo", "why", "ingest", "--night", "2026-11-20")
    assert found["changed"] == [{"part": "contract.min_rows", "was": "1", "is": "2"}] and found["runs"]


def test_what_is_kept_is_counted_and_cleaned_up(house: House, capsys: Out) -> None:
    house()
    assert told(capsys, "memo", "stats")["calls"]["entries"] == 0
    assert told(capsys, "memo", "gc")["days"] == []


def test_why_needs_a_night(house: House, capsys: Out) -> None:
    house()
    with pytest.raises(SystemExit):
        main(["memo", "why", "--usecase", "small"])
    assert "--night YYYY-MM-DD" in capsys.readouterr().err
