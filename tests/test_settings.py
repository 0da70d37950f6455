"""Settings: every file loads, and a wrong one says which file, which key, and what is allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.errors import UserError
from pipelines.sections import Contract
from pipelines.settings import load

House = Callable[..., Path]


@pytest.mark.parametrize("path", sorted((settings.ROOT / "config").rglob("*.yaml")), ids=lambda path: path.parent.name + "/" + path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    assert settings.load_profile(path.stem) if path.parent.name == "profiles" else settings.load_usecase(path.parent.name)


def test_every_prompt_that_a_use_case_names_is_there() -> None:
    for name in settings.usecases():
        usecase = settings.load_usecase(name)
        judges = [*usecase.evaluation.judges.values(), *usecase.safety.graders.values()]
        for prompt in (usecase.task.system, usecase.synthesis.prompt, *(judge.prompt for judge in judges)):
            usecase.prompt(prompt)
        assert all(judge.labelled and Path(usecase.folder, judge.labelled).is_file() for judge in judges)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splitt": {}}, r"usecase.yaml: splitt: there is no such setting; allowed here: .*split"),
        ({"split": {"test_shar": 0.1}}, r"split.test_shar: there is no such setting; allowed here: test_share"),
        ({"split": {"test_share": 2}}, r"split.test_share: .*less than or equal to 1.*found 2"),
        ({"task": {"answer": "poem"}}, r"task.answer: .*'label', 'reply' or 'label_reply'.*found 'poem'"),
        (
            {"gate": {"metrics": {"rouge_l": 0.1}}},
            r"gate.metrics: \['rouge_l'\] is not measured .*: \['accuracy', 'cost', 'macro_f1', 'tokens'\]",
        ),
        ({"sources": []}, r"sources: "),
        ({"approval": "maybe"}, r"approval: .*'none' or 'required'.*found 'maybe'"),
        ({"evaluation": {"judges": {"x": {"members": []}}}}, r"evaluation.judges.x: .*members must name at least one endpoint"),
        ({"evaluation": {"judges": {"x": {"pass_from": 9}}}}, r"pass_from 9 must lie above the lowest and not above the highest"),
        ({"evaluation": {"judges": {"accuracy": {}}}}, r"\['accuracy'\] is the name of a metric already"),
        ({"safety": {"graders": {"x": {}}}}, r"safety.graders.x: kind must be pointwise and grades \[0, 1\]"),
        ({"staging": {"max_nights": 3}, "gate": {"metrics": {"macro_f1": 0.1}}}, r"staging: .* gate.metrics must name one of them"),
    ],
)
def test_a_wrong_setting_names_file_key_and_what_is_allowed(house: House, changes: dict, message: str) -> None:
    house(**changes)
    with pytest.raises(UserError, match=message):
        load("small", "local")


def test_an_unknown_use_case_or_profile_names_those_that_exist(house: House) -> None:
    house()
    with pytest.raises(UserError, match="use cases are small"):
        load("smal", "local")
    with pytest.raises(UserError, match="profiles are local"):
        load("small", "prod")


def test_broken_yaml_is_one_message(house: House) -> None:
    house(files={"usecase.yaml": "name: [small"})
    with pytest.raises(UserError, match="not valid YAML"):
        load("small", "local")


def test_a_missing_prompt_names_where_it_should_be(house: House) -> None:
    house(task={"system": "system.txt"})
    with pytest.raises(UserError, match="prompts/system.txt does not exist"):
        load("small", "local").usecase.prompt("system.txt")


def rule(kind: str, **kwargs: object) -> dict:
    return {"type": f"expect_column_value{kind}", "kwargs": kwargs}


LABEL_SET = rule("s_to_be_in_set", column="label", value_set=["green"])
NULL, NOT_NULL = rule("s_to_be_null", column="reply"), rule("s_to_not_be_null", column="reply")
LOW, HIGH = rule("_lengths_to_be_between", column="text", max_value=5), rule("_lengths_to_be_between", column="text", min_value=9)


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ({"min_rws": 1}, r"contract.yaml: min_rws: there is no such setting; allowed here: labels, .*min_rows"),
        ({"volume": {"night": 1}}, r"contract.yaml: volume.night: there is no such setting; allowed here: nights, min_share, max_share"),
        ({"min_rows": "many"}, r"contract.yaml: min_rows: .*integer.*found 'many'"),
        ({"min_tokens": 9, "max_tokens": 5}, r"contract.yaml: min_tokens 9 is above max_tokens 5"),
        ({"volume": {"min_share": 3}}, r"volume.min_share 3 is above volume.max_share 2"),
        ({"volume": {"min_share": 1.5, "max_share": 2}}, r"volume.min_share 1.5 and volume.max_share 2: 1 must lie between"),
        ({"labels": ["red", "red"]}, r"labels: 'red' is there twice"),
        ({"labels": ["red"], "rows": [LABEL_SET]}, r"rows\[0\].kwargs.value_set names 'green', which labels does not have"),
        ({"rows": [NULL], "table": [NOT_NULL]}, r"table\[0\] wants reply not to be null, rows\[0\] wants it to be null"),
        ({"rows": [LOW, HIGH]}, r"rows\[1\].kwargs.min_value 9 is above rows\[0\].kwargs.max_value 5 of the same column text"),
        (
            {"rows": [rule("s_to_be_between", column="turn", min_value=3, max_value=2)]},
            r"min_value 3 is above rows\[0\].kwargs.max_value 2",
        ),
        (
            {"rows": [rule("s_to_be_between", column="turn", min_value=3, max_value=3, strict_max=True)]},
            r"both 3, and one of them is strict",
        ),
        (
            {"rows": [rule("s_to_be_between", column="created_at", min_value="2026-11-20", max_value="2026-11-19 23:00")]},
            r"min_value 2026-11-20 is above rows\[0\].kwargs.max_value 2026-11-19 23:00",
        ),
        (
            {"rows": [LABEL_SET, rule("s_to_be_in_set", column="label", value_set=["a"])]},
            r"value_set and rows\[1\].* have no value of label",
        ),
        (
            {"rows": [LABEL_SET, rule("s_to_not_be_in_set", column="label", value_set=["green"])]},
            r"rows\[1\].* forbids every value that rows\[0\]",
        ),
        ({"rows": [rule("s_to_be_in_set", column="turn", value_set=[])]}, r"rows\[0\].kwargs.value_set is empty"),
        (
            {"rows": [rule("s_to_match_regex", column="text", regex="(")]},
            r"rows\[0\].kwargs.regex: '\(' is no regular expression: missing \)",
        ),
        ({"rows": [rule("s_to_match_regex_list", column="text", regex_list=["a", "["])]}, r"rows\[0\].kwargs.regex_list\[1\]: '\['"),
        ({"rows": [LOW, HIGH | {"kwargs": {"column": "reply"}}, LOW]}, r"rows\[0\] and rows\[2\] are the same rule"),
        (
            {"min_rows": 9, "table": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 5}}]},
            r"min_rows 9 is above table\[0\].kwargs.max_value 5",
        ),
    ],
)
def test_a_contract_that_contradicts_itself_names_both_keys(house: House, contract: dict, message: str) -> None:
    house(contract=contract)
    with pytest.raises(UserError, match=message):
        load("small", "local")


def test_rules_that_leave_room_for_both_do_not_contradict_each_other(house: House) -> None:
    house(contract={"rows": [LOW | {"kwargs": LOW["kwargs"] | {"mostly": 0.5}}, HIGH, NOT_NULL], "table": [HIGH]})
    assert len(load("small", "local").usecase.contract.rows) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"contract.yaml is empty: write keys and values into it, or remove it"),
        ("# nothing\n", r"contract.yaml is empty"),
        ("- labels: [a]\n", r"contract.yaml must hold keys and values, not list"),
        ("min_rows: [1\n", r"contract.yaml is not valid YAML"),
        ("min_rows: !!python/object:os.system {}\n", r"contract.yaml is not valid YAML"),
        ("min_rows: 1\nmin_rows: 2\n", r"contract.yaml: min_rows: the key is there twice"),
        ("rows:\n- {type: a, type: b}\n", r"contract.yaml: rows\[0\].type: the key is there twice"),
        ("min_rows: 2026-99-99\n", r"contract.yaml"),
        ("[" * 5000, r"contract.yaml is not valid YAML"),
    ],
)
def test_a_contract_that_cannot_be_read_is_one_message(house: House, text: str, message: str) -> None:
    house(files={"contract.yaml": text})
    with pytest.raises(UserError, match=message):
        load("small", "local")


def test_a_contract_that_is_no_file_or_no_text_is_one_message(house: House) -> None:
    path = house() / "usecases/small/contract.yaml"
    path.write_bytes(b"labels: [\xff]")
    with pytest.raises(UserError, match="contract.yaml is not valid YAML"):
        load("small", "local")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="contract.yaml cannot be read: Is a directory"):
        load("small", "local")


def test_a_contract_in_usecase_yaml_is_told_where_to_go(house: House) -> None:
    path = house() / "usecases/small/usecase.yaml"
    path.write_text(path.read_text() + "contract: {labels: [a]}\n")
    with pytest.raises(UserError, match=r"usecase.yaml: contract: .* write it into .*small/contract.yaml, its keys at the top"):
        load("small", "local")


def test_without_a_contract_the_defaults_hold(house: House) -> None:
    (house() / "usecases/small/contract.yaml").unlink()
    assert load("small", "local").usecase.contract == Contract()
