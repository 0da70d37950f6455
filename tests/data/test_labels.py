"""A budget of labels: sealed rows never go out, nothing changes without a person, and every answer is counted."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.data.labelling import confident, label_files, labels, teaching
from pipelines.errors import UserError
from pipelines.foundation import corrections
from pipelines.foundation.step import Night, open_night, step
from pipelines.settings import ROOT

House = Callable[..., Path]
NIGHT = "2026-11-20"
GIVEN = ("small", "local")
TOPICS = {
    "red": "my {0} card was lost in the {1} and I want to block it",
    "blue": "the {0} app is slow on the {1} since your update",
}
FILL = [(one, two) for one in ("old", "new", "best", "first", "blue") for two in ("bus", "shop", "park", "train")]


def example(number: int, prompt: str, label: str | None, split: str = "train", **changes: object) -> dict:
    base = {"example_id": f"e{number:03}", "group_id": f"g{number}", "prompt": prompt, "response": None, "label": label}
    return base | {"source": "traffic", "split": split, "night": NIGHT, "day": NIGHT, "attributes": "{}"} | changes


ROWS = [example(n, TOPICS[label].format(*fill), label) for n, (label, fill) in enumerate((la, fi) for la in TOPICS for fi in FILL)]
WRONG = example(50, TOPICS["red"].format("brown", "bus"), "blue")
SEALED = [example(90 + n, f"SEALED {TOPICS['red'].format('x', n)}", "red", split="test") for n in range(5)]


@pytest.fixture
def night(house: House) -> Callable[..., Night]:
    """`night(rows)` is a night whose split gave these rows."""

    def split_into(rows: list[dict]) -> Night:
        house()

        @step(code=1, extra=lambda _: {"given": rows})
        def split(opened: Night) -> dict:
            return {"examples": opened.lake.replace("examples", rows, night=NIGHT)}

        split(*GIVEN, NIGHT)
        return open_night(*GIVEN, NIGHT)

    return split_into


def queue(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fill(path: Path, rows: list[dict]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, label_files.COLUMNS)
        out.writeheader()
        out.writerows(rows)
    return str(path)


def answer(number: int, label: str = "", **more: str) -> dict:
    return dict.fromkeys(label_files.COLUMNS, "") | {"example_id": f"e{number:03}", "label": label, "was": "red", "source": "error"} | more


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_sealed_rows_never_go_out(night: Callable[..., Night], tmp_path: Path, suffix: str) -> None:
    night([*ROWS, WRONG, *SEALED])
    out = tmp_path / f"queue{suffix}"
    assert labels.find_errors(*GIVEN, NIGHT, str(out))["judged"] == len(ROWS) + 1
    assert "SEALED" not in out.read_text(encoding="utf-8")
    if suffix == ".csv":
        assert labels.suggest(*GIVEN, NIGHT, 100, str(out))["pool"] == len(ROWS) + 1
        assert "SEALED" not in out.read_text(encoding="utf-8")


def test_a_wrong_label_is_found_and_takes_effect_only_after_a_person_accepts_it(night: Callable[..., Night], tmp_path: Path) -> None:
    opened = night([*ROWS, WRONG, *SEALED])
    out = tmp_path / "queue.csv"
    labels.find_errors(*GIVEN, NIGHT, str(out))
    first = queue(out)[0]
    assert (first["example_id"], first["was"], first["proposed"], first["label"], first["accept"]) == ("e050", "blue", "red", "", "")
    assert labels.import_answers(*GIVEN, str(out), "ann")["unanswered"] == len(queue(out))
    assert corrections.corrected(opened.lake, [WRONG]) == [WRONG]
    told = labels.import_answers(*GIVEN, fill(out, [first | {"accept": "yes"}]), "ann")
    assert (told["accepted"], told["changed"], told["refused"]) == (1, 1, {})
    assert corrections.corrected(opened.lake, [WRONG]) == [WRONG | {"label": "red", "source": "corrected"}]
    kept = opened.lake.read("labels", told["labels"]).to_pylist()[0]
    assert (kept["by"], kept["was"], kept["label"], kept["source"], kept["night"]) == ("ann", "blue", "red", "error", NIGHT)
    assert labels.find_errors(*GIVEN, NIGHT, str(out))["rows"] == 0
    assert labels.import_answers(*GIVEN, fill(out, [first | {"accept": "yes"}]), "ann")["known"] == 1


REFUSED = [
    ("unknown_id", [answer(777, "red")]),
    ("no_id", [answer(0, "red", example_id="")]),
    ("sealed_row", [answer(90, "blue")]),
    ("unknown_label", [answer(0, "green")]),
    ("changed_since", [answer(0, "blue", was="green")]),
    ("conflicting_answers", [answer(0, "blue"), answer(0, "red")]),
    ("accept_not_yes_or_no", [answer(0, "", accept="perhaps")]),
    ("nothing_to_accept", [answer(0, "", accept="yes")]),
    ("accept_and_another_label", [answer(0, "red", accept="yes", proposed="blue")]),
]


@pytest.mark.parametrize(("reason", "rows"), REFUSED, ids=[reason for reason, _ in REFUSED])
def test_an_answer_that_cannot_be_kept_is_refused_for_its_reason(
    night: Callable[..., Night], tmp_path: Path, reason: str, rows: list[dict]
) -> None:
    night([*ROWS, *SEALED])
    told = labels.import_answers(*GIVEN, fill(tmp_path / "q.csv", [*rows, answer(1, "blue")]), "ann")
    assert (told["refused"], told["accepted"], told["read"]) == ({reason: len(rows)}, 1, len(rows) + 1)
    assert [problem["reason"] for problem in told["problems"]] == [reason] * len(rows)


def test_every_line_is_in_exactly_one_count(night: Callable[..., Night], tmp_path: Path) -> None:
    night([*ROWS, *SEALED])
    rows = [answer(0, "blue"), answer(0, "blue"), answer(1), answer(2, "red"), answer(3, "", accept="no"), answer(777, "red")]
    told = labels.import_answers(*GIVEN, fill(tmp_path / "q.csv", rows), "ann")
    assert [told[name] for name in ("changed", "confirmed", "repeated", "unanswered", "known")] == [1, 2, 1, 1, 0]
    assert told["accepted"] + 2 + sum(told["refused"].values()) == told["read"] == 6


def test_the_newest_answer_counts_and_children_follow_their_parent(night: Callable[..., Night], tmp_path: Path) -> None:
    opened = night([*ROWS, *SEALED])
    made = [example(60, "x", "red", source="synthetic", parent_id="e000", depth=1)]
    made += [example(61, "y", "red", source="synthetic", parent_id="e060", depth=2)]
    for label in ("blue", "red", "blue"):
        was = corrections.corrected(opened.lake, ROWS[:1])[0]["label"]
        assert labels.import_answers(*GIVEN, fill(tmp_path / "q.csv", [answer(0, label, was=was)]), "ann")["changed"] == 1
    found = corrections.corrected(opened.lake, [*reversed(made), ROWS[0], ROWS[1]])
    assert [(row["label"], row["source"]) for row in found] == [("blue", "synthetic")] * 2 + [("blue", "corrected"), ("red", "traffic")]
    state = corrections.state(opened.lake)
    labels.import_answers(*GIVEN, fill(tmp_path / "q.csv", [answer(1, "blue")]), "ann")
    assert corrections.state(opened.lake) != state != ""


def task(number: int, *choices: str, **more: object) -> dict:
    results = [{"result": [{"type": "choices", "value": {"choices": [choice]}}], "was_cancelled": False} for choice in choices]
    return {"id": number, "data": {"example_id": f"e{number:03}", "was": "red", "source": "suggest"}, "annotations": results} | more


def test_answers_of_label_studio_are_read_and_checked_like_any_other(night: Callable[..., Night], tmp_path: Path) -> None:
    opened = night([*ROWS, *SEALED])
    skipped = task(4, "blue")
    skipped["annotations"][0]["was_cancelled"] = True
    tasks = [task(0, "blue"), task(1, "blue", "red"), task(2), task(3, "red", "red"), skipped, {"data": None}, task(5, annotations=[7])]
    file = tmp_path / "export.json"
    file.write_text(json.dumps([*tasks, {"example_id": "e006", "was": "red", "label": "blue"}]), encoding="utf-8")
    told = labels.import_answers(*GIVEN, str(file), "ann")
    assert (told["changed"], told["confirmed"], told["unanswered"]) == (2, 1, 3)
    assert told["refused"] == {"conflicting_answers": 1, "no_id": 1}
    found = {name: given.label for name, given in corrections.answers(opened.lake).items()}
    assert found == {"e000": "blue", "e003": "red", "e006": "blue"}


def test_a_queue_for_label_studio_holds_tasks_with_predictions(night: Callable[..., Night], tmp_path: Path) -> None:
    night([*ROWS, WRONG])
    out = tmp_path / "q.json"
    labels.find_errors(*GIVEN, NIGHT, str(out))
    first = json.loads(out.read_text(encoding="utf-8"))[0]
    assert first["data"]["example_id"] == "e050" and first["data"]["labels"] == [{"value": "blue"}, {"value": "red"}]
    assert first["predictions"][0]["result"][0]["value"] == {"choices": ["red"]}


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@a", "'=1", "''-x", "\t=1", "it's", "'quoted'", "", "a=b", "-\n-"])
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe_and_loses_it_again(cell: str) -> None:
    assert label_files.unguard(label_files.guard(cell)) == cell
    assert label_files.guard(cell)[:1] not in ("=", "+", "-", "@", "\t")


def test_hostile_text_comes_out_as_one_harmless_cell(night: Callable[..., Night], tmp_path: Path) -> None:
    night([*ROWS, WRONG | {"prompt": f'=HYPERLINK("http://x.example";"a")\n{WRONG["prompt"]}'}])
    out = tmp_path / "q.csv"
    labels.find_errors(*GIVEN, NIGHT, str(out))
    assert queue(out)[0]["text"].startswith("'=HYPERLINK(")


def rows_to_choose() -> Iterator[dict]:
    yield from ROWS
    yield example(70, "the card app was lost on the bus since the update and I want to block it slow", "red")
    yield example(71, "quarterly dividends of municipal bonds in escrow", "blue")
    yield example(72, "quarterly dividends of municipal bonds in escrow please", "blue", group_id="g71")


def test_suggestions_say_why_and_hold_no_two_rows_of_a_group(night: Callable[..., Night], tmp_path: Path) -> None:
    night([*rows_to_choose(), *SEALED])
    out = tmp_path / "q.csv"
    told = labels.suggest(*GIVEN, NIGHT, 8, str(out))
    found = queue(out)
    assert told["rows"] == 8 == len(found) and sum(told["why"].values()) == 8
    assert {"e070"} <= {row["example_id"] for row in found} and len({"e071", "e072"} & {row["example_id"] for row in found}) == 1
    assert {row["why"].partition(" ")[0].rstrip(":") for row in found} <= {"uncertain", "disagreement", "novel"}


def test_rows_without_a_label_come_first_and_the_tuned_models_word_counts() -> None:
    places = ("bus", "shop", "park", "tram", "pub", "zoo")
    pool = [example(80 + n, TOPICS["red"].format("grey", place), None) for n, place in enumerate(places)]
    picks = {pick.row["example_id"]: pick for pick in teaching.choose(pool, ROWS, {"e080": "blue"}, 2)}
    assert picks["e080"].proposed == "red" and picks["e080"].why.endswith("the tuned model says blue")


@pytest.mark.parametrize(
    ("out", "told"), [("", "--out"), ("q.xlsx", "end it in .csv"), ("/proc/none/q.csv", "cannot be written")], ids=["none", "kind", "place"]
)
def test_a_queue_without_a_place_is_a_mistake_that_is_told(night: Callable[..., Night], out: str, told: str) -> None:
    night([*ROWS, *SEALED])
    with pytest.raises(UserError, match=told):
        labels.find_errors(*GIVEN, NIGHT, out)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00", "example_id,label\n\x00,b\n"], ids=["empty", "columns", "null", "null cell"])
def test_a_file_that_holds_no_answers_is_a_mistake_that_is_told(night: Callable[..., Night], tmp_path: Path, text: str) -> None:
    night(ROWS)
    file = tmp_path / "q.csv"
    file.write_text(text, encoding="utf-8")
    if text.startswith("example_id"):
        assert labels.import_answers(*GIVEN, str(file), "ann")["refused"] == {"unknown_id": 1}
    else:
        with pytest.raises(UserError, match="example_id and label"):
            labels.import_answers(*GIVEN, str(file), "ann")


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_json_that_is_no_export_is_a_mistake_that_is_told(night: Callable[..., Night], tmp_path: Path, text: str) -> None:
    night(ROWS)
    (tmp_path / "q.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="JSON"):
        labels.import_answers(*GIVEN, str(tmp_path / "q.json"), "ann")


def test_one_label_is_too_few_to_look_for_errors(night: Callable[..., Night], tmp_path: Path) -> None:
    night(ROWS[:4])
    with pytest.raises(UserError, match="two labels"):
        labels.find_errors(*GIVEN, NIGHT, str(tmp_path / "q.csv"))


def test_flipped_labels_of_banking77_are_found() -> None:
    file = ROOT / "../shared/data/banking77/train.csv"
    if not file.is_file():
        pytest.skip("Banking77 is not beside the project")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    draw = random.Random(0)
    names = draw.sample(sorted({row["category"] for row in rows}), 10)
    rows = draw.sample([row for row in rows if row["category"] in names], 700)
    given = [row["category"] for row in rows]
    flipped = set(draw.sample(range(len(rows)), len(rows) // 20))
    for place in flipped:
        given[place] = draw.choice([name for name in names if name != given[place]])
    judged = confident.out_of_fold([row["text"] for row in rows], given, [str(place) for place in range(len(rows))])
    found = confident.find(judged, given)
    hits = [doubt for doubt in found if doubt.place in flipped]
    assert len(hits) / len(found) >= 0.5 and len(hits) / len(flipped) >= 0.6
    assert sum(doubt.proposed == rows[doubt.place]["category"] for doubt in hits) / len(hits) >= 0.85
