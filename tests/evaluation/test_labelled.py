"""People's verdicts: read strictly, each mistake named with file, line and column."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.evaluation import labelled
from pipelines.evaluation.judge import Question
from pipelines.sections import Judge
from pipelines.settings import load, load_usecase

House = Callable[..., Path]
PAIR = {"item": "1", "prompt": "Where?", "reference": "Here.", "output_1": "Here.", "output_2": "There.", "winner": "1"}
SINGLE = {"item": "1", "prompt": "Where?", "answer": "Here.", "grade": 5}
PAIRWISE, GRADED = Judge(labelled="judging/j.jsonl"), Judge(kind="pointwise", labelled="judging/j.jsonl")


def read(house: House, text: str, judge: Judge = PAIRWISE) -> labelled.Labelled:
    house({"judging/j.jsonl": text})
    return labelled.read(load("small", "local").usecase, judge)


def lines(*rows: object) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def test_pairs_and_grades_become_questions(house: House) -> None:
    found = read(house, "\ufeff" + lines(PAIR, "", PAIR | {"item": 2, "prompt": "When?", "group": "g", "winner": "tie"}))
    assert found.items == [
        (Question("1", "1", "Where?", "Here.", "Here.", "There."), "1"),
        (Question("2", "g", "When?", "Here.", "Here.", "There."), "tie"),
    ]
    assert len(found.sha256) == 64
    assert read(house, lines(SINGLE), GRADED).items == [(Question("1", "1", "Where?", "", "Here.", None), "5")]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{", "line 2: not a JSON object"),
        ("[1]", "line 2: not a JSON object but list"),
        (PAIR | {"item": ""}, "line 2, column item: is missing or empty"),
        (PAIR | {"output_2": None}, "line 2, column output_2: is missing or empty"),
        (PAIR | {"output_1": "  "}, "line 2, column output_1: '  ' is no text"),
        (PAIR | {"prompt": ["Where?"]}, r"line 2, column prompt: \['Where\?'\] is no text"),
        (PAIR | {"reference": {}, "item": "2"}, "line 2, column prompt: the same texts"),
        (PAIR | {"reference": {"a": 1}}, "line 2, column reference: {'a': 1} is no text"),
        (PAIR | {"winner": "A"}, "line 2, column winner: 'A' is not one of 1, 2, tie"),
        (PAIR | {"winner": True}, "line 2, column winner: True is no text"),
        (PAIR | {"output_2": "Here. "}, "line 2, column output_2: the same text as output_1"),
        (PAIR | {"prompt": "When?"}, "line 2, column item: '1' was already on line 1"),
        (PAIR | {"item": "2", "output_1": "There.", "output_2": "Here."}, "line 2, column prompt: the same texts as on line 1"),
    ],
)
def test_a_bad_pair_is_told_with_file_line_and_column(house: House, row: object, told: str) -> None:
    before = PAIR | {"reference": ""} if isinstance(row, dict) and row["reference"] == {} else PAIR
    with pytest.raises(UserError, match=told) as refused:
        read(house, lines(before, row))
    assert "judging/j.jsonl, line" in str(refused.value)


@pytest.mark.parametrize(("grade", "told"), [(6, "'6' is not one of 1, 2, 3, 4, 5"), (4.5, "4.5 is no text"), (None, "is missing")])
def test_a_grade_off_the_scale_is_told(house: House, grade: object, told: str) -> None:
    with pytest.raises(UserError, match=f"line 1, column grade: {told}"):
        read(house, lines(SINGLE | {"grade": grade}), GRADED)


def test_many_mistakes_are_told_at_once_but_not_all(house: House) -> None:
    with pytest.raises(UserError) as refused:
        read(house, lines(*[PAIR | {"item": str(number), "winner": "x"} for number in range(9)]))
    assert str(refused.value).splitlines()[-1] == "and 4 more"


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_is_told_and_a_judge_without_a_file_has_no_rows(house: House, text: str) -> None:
    with pytest.raises(UserError, match="holds no rows"):
        read(house, text)
    assert labelled.read(load("small", "local").usecase, Judge()) == ([], "")
    with pytest.raises(UserError, match="other.jsonl, the labelled rows of a judge in .*usecase.yaml, cannot be read: No such file"):
        labelled.read(load("small", "local").usecase, Judge(labelled="other.jsonl"))


def test_the_sample_s_pairs_are_balanced_in_place_and_length() -> None:
    usecase = load_usecase("support")
    items = labelled.read(usecase, usecase.evaluation.judges["preference"]).items
    gold = [item.gold for item in items]
    assert [gold.count(value) for value in ("1", "2", "tie")] == [27, 27, 6]
    longer = {side: sum((len(q.one) > len(q.two)) == (side == "1") for q, winner in items if winner == side) for side in ("1", "2")}
    assert longer == {"1": 14, "2": 15}
