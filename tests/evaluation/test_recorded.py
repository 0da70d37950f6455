"""Judges from files: the published figures of LLMBar to the digit, the vocabulary, and every mistake told."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from pipelines.errors import UserError
from pipelines.evaluation.recorded import calibrate_recorded
from pipelines.sections import Admission
from pipelines.settings import ROOT

LLMBAR = ROOT.parent / "shared/data/llmbar"
RULES = Admission()
ORDERS = {"original_order": "12", "swapped_order": "21"}


def write(path: Path, rows: list[dict] | str) -> str:
    """As JSON lines or CSV by suffix, or a text as it is."""
    if isinstance(rows, str):
        path.write_text(rows, encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(folder: Path, verdicts: list[dict] | str, labels: list[dict] | str, suffix: str = "jsonl") -> list[dict]:
    paths = write(folder / f"verdicts.{suffix}", verdicts), write(folder / f"labels.{suffix}", labels)
    found = list(calibrate_recorded(*paths, RULES))
    json.dumps(found, allow_nan=False)
    return found


def published() -> dict[tuple[str, str, str], dict]:
    """Rows of the published table by subset, judge and prompt."""
    if not LLMBAR.is_dir():
        pytest.skip(f"the data set LLMBar is not in {LLMBAR}")
    with (LLMBAR / "published_judge_accuracy.csv").open(encoding="utf-8", newline="") as file:
        return {(row["subset"], row["judge"], row["prompt"]): row for row in csv.DictReader(file)}


def recorded(subset: str) -> Iterator[dict]:
    """Published verdicts in our columns, a judge with its prompt as its name."""
    with (LLMBAR / "published_verdicts.jsonl").open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            for key, order in ORDERS.items():
                if row["subset"] == subset:
                    name = json.dumps([subset, row["judge"], row["prompt"]])
                    yield {"item": row["idx"], "order": order, "judge": name, "winner": row[f"winner_{key}"], "label": row["label"]}


@pytest.mark.parametrize(("subset", "file"), [("Natural", "Natural"), ("FairEval", "Processed/FairEval")])
def test_published_figures_are_reproduced_to_the_digit(tmp_path: Path, subset: str, file: str) -> None:
    table = published()
    pairs = json.loads((LLMBAR / file / "dataset.json").read_text(encoding="utf-8"))
    labels = [
        {"item": place, "winner": row["label"]} | {key: row[key] for key in ("output_1", "output_2")} for place, row in enumerate(pairs)
    ]
    rows = list(recorded(subset))
    found = {tuple(json.loads(line["judge"])): line for line in run(tmp_path, rows, labels)}
    assert set(found) == {key for key in table if key[0] == subset}
    assert len(found) == {"Natural": 65, "FairEval": 8}[subset]
    for key, line in found.items():
        figures = [f"{100 * line[name]:.1f}" for name in ("accuracy", "order_consistency", "first_position_share")]
        assert figures == [table[key][name] for name in ("acc_avg_both_orders_pct", "order_consistency_pct", "picks_first_shown_pct")], key
        assert line["n"] == int(table[key]["n"])
        assert line["length_correlation"] is not None
    nulls = sum(row["winner"] is None for row in rows)
    assert sum(line["unscored"] for line in found.values()) == nulls > 0


def pairs(said: str, judge: str = "j") -> list[dict]:
    """A verdict an item in both orders."""
    return [{"item": place, "order": order, "judge": judge, "winner": one} for place, one in enumerate(said) for order in ("12", "21")]


LABELS = [{"item": place, "winner": one} for place, one in enumerate("1212121212")]


def test_a_line_a_judge_in_order_of_first_appearance_with_all_its_keys(tmp_path: Path) -> None:
    found = run(tmp_path, pairs("1212", "z") + pairs("2211", "a"), LABELS)
    assert [line["judge"] for line in found] == ["z", "a"]
    assert (found[0]["accuracy"], found[1]["accuracy"], found[0]["n"], found[0]["judgements"]) == (1.0, 0.5, 4, 8)
    assert {"kappa", "tpr", "tnr", "order_consistency", "first_position_share", "unscored", "length_correlation"} <= set(found[0])
    assert found[0]["intervals"]["accuracy"][1] == 1.0
    assert found[0]["admitted"] is False
    assert "4 labelled items are fewer than 40" in found[0]["why"]


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    rows = [row | {"winner": row["winner"] if row["item"] else None} for row in pairs("1112121211")]
    assert run(tmp_path, rows, LABELS) == run(tmp_path, rows, LABELS, "csv")


@pytest.mark.parametrize(
    "words",
    [
        {"1": 1, "2": 2},
        {"1": 1.0, "2": 2.0},
        {"1": "A", "2": "b"},
        {"1": "output_1", "2": "Output 2"},
        {"1": "Output (a)", "2": "[[B]]"},
        {"1": "model_a", "2": "model_b", "tie": "Tie"},
        {"1": " 1 ", "2": "2.0", "tie": "draw", "": None},
        {"1": "1", "2": "2", "tie": "T", "": "null"},
    ],
)
def test_a_verdict_may_be_said_in_many_words(tmp_path: Path, words: dict) -> None:
    said = ["1", "2", "tie", "", "1", "1"] if "tie" in words else list("121211")
    rows = [row | {"winner": said[row["item"]]} for row in pairs("121211")]
    other = [row | {"winner": words.get(row["winner"], row["winner"])} for row in rows]
    assert run(tmp_path, other, LABELS) == run(tmp_path, rows, LABELS)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("AB", "BA"),
        ("ab", "BA"),
        ("1-2", "2-1"),
        ("original", "swapped"),
        ("Original", "Reversed"),
        ("normal", "reversed"),
        ("first", "second"),
        (0, 1),
        ("1", "2"),
        (1.0, 2.0),
        (False, True),
        (12, 21),
    ],
)
def test_an_order_may_be_written_in_many_ways(tmp_path: Path, first: object, second: object) -> None:
    rows = [row | {"winner": "1" if row["order"] == "12" and row["item"] < 3 else row["winner"]} for row in pairs("2222121212")]
    other = [row | {"order": first if row["order"] == "12" else second} for row in rows]
    expected = run(tmp_path, rows, LABELS)
    assert expected[0]["first_position_share"] != 0.5
    assert run(tmp_path, other, LABELS) == run(tmp_path, other, LABELS, "csv") == expected


def test_without_both_orders_consistency_is_not_known(tmp_path: Path) -> None:
    rows = [row for row in pairs("1212") if row["order"] == "12"]
    found = run(tmp_path, rows, LABELS)[0]
    assert (found["order_consistency"], found["first_position_share"]) == (None, 0.5)
    bare = run(tmp_path, [{key: row[key] for key in ("item", "judge", "winner")} for row in rows], LABELS)[0]
    assert (bare["order_consistency"], bare["first_position_share"], bare["accuracy"]) == (None, None, 1.0)
    lone = run(tmp_path, [row | {"order": 1} for row in rows], LABELS)[0]
    assert lone["first_position_share"] is None, "a lone 1 may be of 0 and 1 or of 1 and 2"


def test_grades_have_a_quadratic_kappa_and_pass_from_the_middle_of_the_labels(tmp_path: Path) -> None:
    labels = [{"item": f"i{place}", "grade": grade, "answer": "x" * place} for place, grade in enumerate([1, 2, 3, 4, 5, 5])]
    rows = [{"item": f"i{place}", "judge": "j", "score": score} for place, score in enumerate([1, 2, 2, 4, 4, None])]
    found = run(tmp_path, rows, labels)[0]
    assert (found["kind"], found["pass_from"], found["unscored"]) == ("pointwise", 3, 1)
    assert (found["accuracy"], found["tpr"], found["tnr"]) == (0.5, 0.666667, 1.0)
    assert found["kappa"] == pytest.approx(cohen_kappa_score([1, 2, 2, 4, 4], [1, 2, 3, 4, 5], weights="quadratic"), abs=1e-6)
    assert found["length_correlation"] == pytest.approx(0.948683, abs=1e-6)
    assert found == run(tmp_path, rows, labels, "csv")[0]


@pytest.mark.parametrize(("grades", "middle"), [([0, 1], 1), ([1, 5], 3), ([1, 4], 3), ([1, 10], 6), ([7, 7], 7), ([-1, 1], 0)])
def test_the_middle_of_a_scale(tmp_path: Path, grades: list[int], middle: int) -> None:
    labels = [{"item": place, "label": grade} for place, grade in enumerate(grades)]
    assert run(tmp_path, [{"item": 0, "judge": "j", "score": 1}], labels)[0]["pass_from"] == middle


def test_other_columns_are_left_alone_and_labels_without_a_verdict_are_not_asked(tmp_path: Path) -> None:
    rows = [row | {"raw": "Output (a)\nis better", "score": None, "note": [1]} for row in pairs("12")]
    found = run(tmp_path, rows, [row | {"label": "other", "annotator": 3} for row in LABELS])[0]
    assert (found["n"], found["judgements"], found["accuracy"], found["unscored"]) == (2, 4, 1.0, 0)


def test_items_of_a_group_count_once(tmp_path: Path) -> None:
    rows = pairs("1212121221")
    alone, alike = run(tmp_path, rows, LABELS)[0], run(tmp_path, rows, [row | {"group": row["item"] // 5} for row in LABELS])[0]
    assert alike["accuracy"] == alone["accuracy"]
    assert alike["intervals"]["accuracy"][0] < alone["intervals"]["accuracy"][0]


GOOD = '{"item": 1, "judge": "j", "winner": "1"}\n'
GOLD = '{"item": 1, "winner": "1"}\n'


@pytest.mark.parametrize(
    ("verdicts", "labels", "message"),
    [
        ("", GOLD, "verdicts.jsonl holds no verdicts"),
        (GOOD, "", "labels.jsonl holds no labels"),
        ("{\n", GOLD, "verdicts.jsonl, line 1: not a JSON object"),
        (GOOD, GOLD + "[1]\n", "labels.jsonl, line 2: not a JSON object but list"),
        ('{"judge": "j", "winner": "1"}\n', GOLD, "verdicts.jsonl, line 1: the column item is missing"),
        ('{"item": 1, "winner": "1"}\n', GOLD, "verdicts.jsonl, line 1: the column judge is missing"),
        ('{"item": 1, "judge": null, "winner": "1"}\n', GOLD, "verdicts.jsonl, line 1, column judge: None is no name"),
        ('{"item": 1, "judge": "j", "verdict": "1"}\n', GOLD, "verdicts.jsonl, line 1: none of the columns winner, score, grade is there"),
        (GOOD, '{"item": 1, "gold": "1"}\n', "labels.jsonl, line 1: none of the columns winner, label, grade, score is there"),
        (GOOD + '{"item": 7, "judge": "j", "winner": "1"}\n', GOLD, "verdicts.jsonl, line 2, column item: '7' has no label in"),
        (GOOD + GOOD, GOLD, "verdicts.jsonl, line 2, column item: judge 'j' judged '1' already on line 1"),
        (GOOD.replace('"1"', '"3"'), GOLD, "verdicts.jsonl, line 1, column winner: '3' is no verdict"),
        (GOOD.replace('"1"', "true"), GOLD, "verdicts.jsonl, line 1, column winner: 'True' is no verdict"),
        (GOOD.replace('"1"', "NaN"), GOLD, "verdicts.jsonl, line 1, column winner: 'nan' is no verdict"),
        (GOOD.replace('"1"', "[1]"), GOLD, "verdicts.jsonl, line 1, column winner: '[1]' is no verdict"),
        (GOOD, GOLD.replace('"1"', "4"), "labels.jsonl, line 1, column winner: '4' is no verdict"),
        (GOOD, GOLD.replace('"1"', "null"), "labels.jsonl, line 1, column winner: '1' has no label here"),
        (GOOD, GOLD + GOLD.replace('"1"', '"2"'), "labels.jsonl, line 2, column winner: '1' is labelled otherwise on line 1"),
        (GOOD, GOLD[:-2] + ', "length": "long"}', "labels.jsonl, line 1, column length: 'long' is not a finite number"),
        (GOOD.replace('"winner": "1"', '"score": NaN'), GOLD, "verdicts.jsonl, line 1, column score: 'nan' is not a whole number"),
        (GOOD.replace('"winner": "1"', '"score": 3.5'), GOLD, "verdicts.jsonl, line 1, column score: '3.5' is not a whole number"),
        (GOOD.replace('"winner": "1"', '"score": 1e400'), GOLD, "verdicts.jsonl, line 1, column score: 'inf' is not a whole number"),
        (
            GOOD + '{"item": 1, "judge": "k", "score": 4}\n',
            GOLD,
            "verdicts.jsonl, line 2, column score: the verdicts of this file are in the",
        ),
        (GOOD[:-2] + ', "order": "up"}', GOLD, "verdicts.jsonl, line 1, column order: 'up' is no order; write 12"),
        (
            "".join(GOOD[:-2] + f', "order": {order}}}\n' for order in ('"12"', "2")),
            GOLD,
            "verdicts.jsonl, line 2, column order: '2' does not go with '12'",
        ),
        (GOOD[:-2] + ', "order": "12"}\n' + GOOD, GOLD, "verdicts.jsonl, line 2, column order: '' does not go with '12'"),
    ],
)
def test_a_mistake_names_file_line_and_column(tmp_path: Path, verdicts: str, labels: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        run(tmp_path, verdicts, labels)
    assert message in str(raised.value)


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.jsonl", LABELS)
    (tmp_path / "v.csv").write_bytes(b"item,judge\xff\xfe\x00")
    for name, message in (("v.csv", "is not UTF-8"), ("none.csv", "there is no file"), (".", "there is no file")):
        with pytest.raises(UserError, match=message):
            list(calibrate_recorded(str(tmp_path / name), labels, RULES))
