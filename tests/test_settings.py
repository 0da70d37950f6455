"""Settings: every file loads, and a wrong one says which file, which key, and what is allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.errors import UserError
from pipelines.settings import load

House = Callable[..., Path]


@pytest.mark.parametrize("path", sorted((settings.ROOT / "config").rglob("*.yaml")), ids=lambda path: path.parent.name + "/" + path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    assert settings.load_usecase(path.parent.name) if path.name == "usecase.yaml" else settings.load_profile(path.stem)


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
