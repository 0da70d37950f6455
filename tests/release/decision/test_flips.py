"""What got worse item by item, read from the tables that the night's steps wrote."""

from collections.abc import Callable
from pathlib import Path

from pipelines.foundation.step import Night, results
from pipelines.release.decision.flips import Flips, find
from tests.decided import Item, decide

House = Callable[..., Path]
GRADED = {"task": {"answer": "reply"}, "gate": {"metrics": {"rouge_l": 0.02}}}


def flips(night: Night) -> Flips:
    return find(night, results(night.lake, night.night))


def test_right_to_wrong_is_listed_with_both_answers_and_wrong_to_right_is_counted(house: House) -> None:
    house()
    found = flips(decide())
    assert (found.metric, found.worse, found.better) == ("accuracy", 1, 1)
    [flip] = found.listed
    assert (flip.prompt, flip.gold.label, flip.old.label, flip.new.label) == ("Where is my card?", "arrival", "arrival", "lost")


def test_all_flips_are_counted_and_thirty_are_listed(house: House) -> None:
    house()
    found = flips(decide(items=tuple(Item(f"e{n:02}", "?", "a", "a", "b") for n in range(40))))
    assert (found.worse, len(found.listed)) == (40, 30)


def test_those_in_a_failed_slice_come_first(house: House) -> None:
    house(evaluation={"slices": ["label"]})
    items = (*(Item(f"e{n:02}", "?", "a", "a", "b") for n in range(35)), Item("z", "?", "rare", "rare", "b"))
    found = flips(decide(items=items, slices=[{"slice": "label", "value": "rare", "metric": "accuracy", "verdict": "FAIL"}]))
    assert [flip.item for flip in found.listed if flip.failed] == ["z"] == [found.listed[0].item]
    assert found.listed[0].slices == {"label": "rare"}


def test_a_task_without_labels_lists_the_largest_falls_of_its_first_metric(house: House) -> None:
    house(**GRADED)
    falls = {"a": (0.9, 0.5), "b": (0.9, 0.1), "c": (0.5, 0.3), "d": (0.1, 0.9)}
    items = tuple(Item(name, "?", None, None, None, "gold", "old", "new", scores) for name, scores in falls.items())
    found = flips(decide(items=items, measured="rouge_l", metrics={}))
    assert ([flip.item for flip in found.listed], found.worse, found.better) == (["b", "a"], 2, 1)
    assert found.listed[0].new.reply == "new"


def test_pairs_that_a_judge_gave_to_the_champion_come_with_its_raw_replies(house: House) -> None:
    house(task={"answer": "label_reply"}, evaluation={"judges": {"helpful": {"prompt": "judge.txt"}}})
    items = tuple(Item(f"e{n:02}", "?", "a", "a", "a") for n in range(15))
    rows = [{"item": item.name, "order": order, "verdict": "2", "raw": "VERDICT: B"} for item in items for order in ("12", "21")]
    found = flips(decide(items=items, judged={"helpful": rows}))
    assert (found.lost, len(found.losses)) == ({"helpful": 15}, 10)
    assert [(reply.shown, reply.verdict, reply.raw) for reply in found.losses[0].replies] == [
        ("12", "2", "VERDICT: B"),
        ("21", "2", "VERDICT: B"),
    ]


def test_a_missing_answer_is_no_flip(house: House) -> None:
    house()
    assert flips(decide(items=(Item("e1", "?", "a", "a", None, scores=(1.0, None)),))).worse == 0


def test_the_champion_compared_with_itself_has_no_flips(house: House) -> None:
    house()
    same = {"champion": {"key": "same", "version": "1"}, "candidate": {"key": "same"}}
    assert flips(decide(evaluated=same)) == Flips("", 0.0, 0, 0, [], [], {})
