"""What is suggested from data loads, passes on the data it came from, and says what it saw."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.__main__ import main
from pipelines.data.contract.looks import Column
from pipelines.data.contract.suggest import suggest_contract, write_contract
from pipelines.data.ingest import ingest
from pipelines.data.validate import validate
from pipelines.errors import UserError
from pipelines.sections import Contract
from pipelines.settings import load_usecase
from tests import tokens

NIGHT = "2026-11-20"
COLUMNS = {"row_id": "id", "subject_id": "who", "turn": "n", "created_at": "at", "text": "message", "label": "intent"}
THINGS = ["card", "account", "transfer", "statement", "password"]


def rows(count: int = 60) -> list[dict]:
    """Messages as a source has them, with its own names of columns."""
    made = [f"Please tell me where my {THINGS[n % 5]} number {n} is, I have been waiting for it" for n in range(count)]
    common = {"at": f"{NIGHT}T10:00:00Z"}
    return [
        common | {"id": f"m-{n:03d}", "who": f"u-{n % 20}", "n": n % 4 + 1, "message": text, "intent": THINGS[n % 5]}
        for n, text in enumerate(made)
    ]


@pytest.fixture
def source(house: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`source(rows)` writes a use case without a contract and its one file, and returns the file."""

    def write(made: list[dict]) -> Path:
        lines = "".join(json.dumps(row) + "\n" for row in made)
        folder = house(files={"sample/a.jsonl": lines}, sources=[{"path": "sample", "columns": COLUMNS}]) / "usecases/small"
        (folder / "contract.yaml").unlink()
        tokens.build(tmp_path / "state/models", [row["message"] for row in made])
        return folder / "sample/a.jsonl"

    return write


def test_what_is_written_loads_and_passes_on_the_data_it_came_from(source: Callable[..., Path]) -> None:
    written = write_contract(str(source(rows())), "small")
    contract = load_usecase("small").contract
    assert (contract.labels, contract.languages, contract.min_rows) == (sorted(THINGS), ["en"], 30)
    kinds = {rule["type"].removeprefix("expect_column_value") for rule in contract.rows}
    assert kinds == {"s_to_not_be_null", "s_to_match_regex", "s_to_be_unique", "s_to_be_between", "_lengths_to_be_between"}
    ingest("small", "local", NIGHT)
    assert validate("small", "local", NIGHT)["accepted"] == 60 == written["rows"]


def test_what_was_suggested_catches_what_is_not_like_the_data(source: Callable[..., Path]) -> None:
    write_contract(str(source(rows())), "small")
    odd = [
        {"who": "nobody"},
        {"n": 99},
        {"message": "Ich warte schon seit gestern auf meine neue Karte und niemand hilft mir"},
        {"message": "why " * 400},
    ]
    folder = Path(load_usecase("small").folder)
    made = [*rows(), *(rows()[n] | {"id": f"m-9{n}"} | changes for n, changes in enumerate(odd))]
    (folder / "sample/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    (folder / "contract.yaml").write_text(
        (folder / "contract.yaml").read_text().replace("max_quarantine_share: 0.05", "max_quarantine_share: 0.5")
    )
    ingest("small", "local", NIGHT)
    assert validate("small", "local", NIGHT)["reasons"] == {"subject_id_form": 1, "turn_range": 1, "language": 1, "text_length": 1}


def test_a_contract_that_is_there_is_not_overwritten(source: Callable[..., Path]) -> None:
    file = source(rows())
    before = Path(write_contract(str(file), "small")["contract"]).read_bytes()
    with pytest.raises(UserError, match="contract.yaml is there already and is not overwritten"):
        write_contract(str(file), "small")
    assert Path(load_usecase("small").folder, "contract.yaml").read_bytes() == before


def test_without_a_use_case_columns_are_known_by_our_names(source: Callable[..., Path], tmp_path: Path) -> None:
    source(rows())
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((row["message"], row["intent"]) for row in rows())])
    suggested = suggest_contract(str(table))
    assert Contract.model_validate(yaml.safe_load(suggested)).labels == sorted(THINGS)
    assert "# 5 seen, the rarest 12 time(s)" in suggested and "60 rows" in suggested


def test_no_comment_holds_what_a_person_wrote(source: Callable[..., Path]) -> None:
    made = [row | {"who": f"anna\n# {n}", "message": f"anna: # message {n}\nrows: []"} for n, row in enumerate(rows())]
    write_contract(str(source(made)), "small")
    text = Path(load_usecase("small").folder, "contract.yaml").read_text()
    assert "anna" not in re.sub("regex: '?[^#]*", "", text) and load_usecase("small").contract.rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no row of it can be used: file_empty 1 time"),
        ("a,b\n1,2\n", "missing_text 1 time.*Its columns: a, b; a column must be named text, or --usecase"),
        (None, "is not there: --source takes one file"),
    ],
)
def test_a_file_without_a_row_says_why(source: Callable[..., Path], tmp_path: Path, text: str | None, told: str) -> None:
    source(rows())
    if text is not None:
        (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=f"(?s){told}"):
        suggest_contract(str(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([f"u-{n}" for n in range(20)], "^u-[0-9]+$"),
        ([f"{chr(97 + n)}{n}" for n in range(20)], "^[A-Za-z]+[0-9]+$"),
        ([f"{n:08x}-0000-4000-8000-{n:012x}" for n in range(20)], "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
        ([f"ab{n:02}cd{n:02}ef01ab" for n in range(20)], "^[0-9a-f]{14}$"),
        ([f"DE.{n}" for n in range(20)] + [f"u-{n}" for n in range(20)], r"^[A-Za-z0-9\-\.]+$"),
        (["anna"] * 50, None),
    ],
)
def test_the_form_of_identifiers_is_anchored_and_general(values: list[str], pattern: str | None) -> None:
    column = Column()
    for value in values:
        column.see(value)
        column.see_form(value)
    assert column.pattern() == pattern
    assert pattern is None or all(re.search(pattern, value) for value in values)


def test_the_command_prints_the_contract_and_nothing_else(source: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = str(source(rows()))
    assert main(["contract", "suggest", "--source", file, "--usecase", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 60
    assert main(["contract", "suggest", "--source", file]) == 2  # its columns are named otherwise
    assert "a column must be named text, or --usecase names the use case" in capsys.readouterr().err
