"""Answers that say nothing: who gives them anything but the floor is found out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.evaluation import probes
from pipelines.evaluation.judge import Question
from pipelines.evaluation.labelled import Item
from pipelines.foundation.step import Night, open_night
from pipelines.sections import Judge
from tests.servers import Call, ChatServer, fair, fenced

PAIRS = "{prompt}\n{answer_a}\n{answer_b}\nVERDICT: A, B or tie."
SINGLE = "{prompt}\n{answer}\nGRADE: 1 to 5."
PAIRWISE = Judge(prompt="judge.txt")
GRADED = Judge(kind="pointwise", prompt="judge.txt")
ITEMS = [
    Item(Question("1", "1", "Where?", "", "Here. (good)", "There."), "1"),
    Item(Question("2", "2", "When?", "", "Never.", "Now. (good)"), "2"),
    Item(Question("3", "3", "How?", "", "So.", "Thus."), "tie"),
    Item(Question("4", "4", "Who?", "", "Me. (good)", "You."), "1"),
]


def opened(house: Callable[..., Path], server: ChatServer, template: str = PAIRS) -> Night:
    house({"prompts/judge.txt": template}, {"endpoints": {"embedded": server.endpoint().model_dump()}})
    return open_night("small", "local", "2026-11-20")


def test_a_probe_stands_beside_the_better_output_and_never_beside_a_tie_while_there_are_others(house: Callable[..., Path]) -> None:
    with ChatServer(answer=fair) as server:
        found = probes.run(opened(house, server), "taste", PAIRWISE, ITEMS)
    assert (found["asked"], found["at_floor"], server.billed) == (24, 24, 48)
    assert set(found["kinds"].values()) == {1.0}
    shown = [fenced(call)[1:] for call in server.calls]
    assert all(any("(good)" in text for text in texts) for texts in shown)
    assert not [text for texts in shown for text in texts if text in ("There.", "Never.", "You.", "So.", "Thus.")]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda call: "VERDICT: tie" if ":" in fenced(call)[1:] else fair(call), "colon"),
        (lambda call: "Neither is good." if "" in fenced(call)[1:] else fair(call), "empty"),
        (lambda call: "VERDICT: A" if any(len(text) > 200 for text in fenced(call)[1:]) else fair(call), "repeated"),
    ],
    ids=["a tie", "no verdict", "one order"],
)
def test_a_tie_a_refusal_and_one_order_alone_are_not_the_floor(
    house: Callable[..., Path], answer: Callable[[Call], str], kind: str
) -> None:
    with ChatServer(answer=answer) as server:
        found = probes.run(opened(house, server), "taste", PAIRWISE, ITEMS)
    assert {name for name, share in found["kinds"].items() if share < 1} == {kind}
    assert found["at_floor"] == 21


def test_a_grader_gives_the_lowest_grade_to_all_of_them(house: Callable[..., Path]) -> None:
    items = [item._replace(question=item.question._replace(two=None), gold="5") for item in ITEMS]
    with ChatServer(answer=lambda call: f"GRADE: {2 if fenced(call)[-1] == ':' else 1}") as server:
        found = probes.run(opened(house, server, SINGLE), "care", GRADED, items)
    assert (found["asked"], found["at_floor"], found["kinds"]["colon"]) == (24, 21, 0)
    assert any("GRADE: 5" in fenced(call)[-1] for call in server.calls)
