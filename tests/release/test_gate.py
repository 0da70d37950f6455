"""Verdicts on files and on nights, and what the ledger keeps of them."""

import datetime
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.foundation import ledger
from pipelines.foundation.step import Night, open_night
from pipelines.release.gate import decide_batch, decide_file, gate, spent_alpha

HEADER = "item,group,champion,candidate\n"


def binary(n: int, losses: int, wins: int, offset: int = 0) -> list[tuple[str, str, float, float]]:
    """Rows of n items, one a group: the first ones lost, the next ones won, half of the others right in both."""
    scores = [(1.0, 0.0)] * losses + [(0.0, 1.0)] * wins
    scores += [(float(place % 2), float(place % 2)) for place in range(n - losses - wins)]
    return [(f"i{place + offset}", f"g{place + offset}", *pair) for place, pair in enumerate(scores)]


def write(path: Path, rows: list[tuple]) -> str:
    path.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("n", "losses", "wins", "verdict"),
    [
        (1000, 40, 60, "PROMOTE"),
        (1000, 50, 50, "PROMOTE"),
        (1000, 150, 20, "REJECT"),
        (1000, 90, 60, "INSUFFICIENT_DATA"),
        (1000, 0, 0, "PROMOTE"),
        (50, 0, 0, "INSUFFICIENT_DATA"),
        (29, 0, 29, "INSUFFICIENT_DATA"),
        (29, 29, 0, "INSUFFICIENT_DATA"),
        (200, 200, 0, "REJECT"),
        (200, 0, 200, "PROMOTE"),
    ],
)
def test_verdict_of_a_file(tmp_path: Path, n: int, losses: int, wins: int, verdict: str) -> None:
    found = decide_file(write(tmp_path / "s.csv", binary(n, losses, wins)), margin=0.03, alpha=0.05)
    assert found["verdict"] == verdict
    assert (found["n"], found["clusters"], found["difference"]) == (n, n, round((wins - losses) / n, 6))
    assert found["bound"] <= found["difference"] or n in (losses, wins)
    json.dumps(found, allow_nan=False)


def test_the_reason_names_n_bound_and_margin(tmp_path: Path) -> None:
    found = decide_file(write(tmp_path / "s.csv", binary(1000, 90, 60)), margin=0.03, alpha=0.05)
    for part in ("1000 pairs", "1000 groups", f"{found['bound']:+.4f}", "-0.0300", f"{found['visible']:.4f}"):
        assert part in found["reason"]


def test_a_file_of_one_group_decides_nothing(tmp_path: Path) -> None:
    rows = [(item, "same", old, new) for item, _, old, new in binary(500, 0, 100)]
    found = decide_file(write(tmp_path / "s.csv", rows), margin=0.03, alpha=0.05)
    assert (found["verdict"], found["clusters"], found["bound"]) == ("INSUFFICIENT_DATA", 1, None)
    json.dumps(found, allow_nan=False)


def test_jsonl_and_csv_say_the_same(tmp_path: Path) -> None:
    rows = binary(300, 10, 20)
    lines = [json.dumps(dict(zip(("item", "group", "champion", "candidate"), row, strict=True))) for row in rows]
    (tmp_path / "s.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    assert decide_file(str(tmp_path / "s.jsonl"), 0.03, 0.05) == decide_file(write(tmp_path / "s.csv", rows), 0.03, 0.05)


def test_a_missing_side_is_counted_and_not_zero(tmp_path: Path) -> None:
    rows = [*binary(300, 0, 10), ("x", "gx", 1.0, ""), ("y", "gy", "", 1.0)]
    found = decide_file(write(tmp_path / "s.csv", rows), margin=0.03, alpha=0.05)
    assert (found["n"], found["missing"], found["difference"]) == (300, 2, round(10 / 300, 6))
    assert "2 missing" in found["reason"]


def test_only_missing_pairs_decide_nothing(tmp_path: Path) -> None:
    found = decide_file(write(tmp_path / "s.csv", [("x", "g", "", 1.0)]), margin=0.03, alpha=0.05)
    assert (found["verdict"], found["n"], found["missing"]) == ("INSUFFICIENT_DATA", 0, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.csv", "", "is empty: its first line must name the columns item, group, champion, candidate"),
        ("s.csv", HEADER, "holds no scores"),
        ("s.csv", "item,group,champion\n1,1,1\n", "line 1: the column candidate is missing; found: item, group, champion"),
        ("s.csv", HEADER + "1,1,1,1\n2,2,1,good\n", "line 3, column candidate: 'good' is not a finite number"),
        ("s.csv", HEADER + "1,1,NaN,1\n", "line 2, column champion: 'NaN' is not a finite number"),
        ("s.csv", HEADER + "1,1,1,inf\n", "line 2, column candidate: 'inf' is not a finite number"),
        ("s.csv", HEADER + "1,1,1,1\n1,2,1,1\n", "line 3, column item: '1' was already on line 2"),
        ("s.csv", HEADER + "1,,1,1\n", "line 2, column group: '' is no name"),
        ("s.csv", HEADER + "1,1,1\n", "line 2: 3 cells, but the header has 4 columns"),
        ("s.jsonl", '{"item": 1, "group": 1, "champion": 1}\n', "line 1: the column candidate is missing"),
        ("s.jsonl", "{\n", "line 1: not a JSON object"),
        ("s.jsonl", "[1]\n", "line 1: not a JSON object but list"),
        ("s.jsonl", '{"item": 1, "group": 1, "champion": NaN, "candidate": 1}\n', "line 1, column champion: 'nan' is not a finite"),
        ("s.jsonl", '{"item": 1, "group": 1, "champion": true, "candidate": [1]}\n', "line 1, column candidate"),
    ],
)
def test_a_bad_file_names_file_line_and_column(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        decide_file(str(tmp_path / name), 0.03, 0.05)
    assert message in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b"item,group\xff\xfe\x00")
    for path, message in (("s.csv", "is not UTF-8"), ("none.csv", "there is no file")):
        with pytest.raises(UserError, match=message):
            decide_file(str(tmp_path / path), 0.03, 0.05)


@pytest.mark.parametrize(("margin", "alpha"), [(-0.1, 0.05), (math.nan, 0.05), (0.03, 0.0), (0.03, 0.5)])
def test_a_margin_or_alpha_out_of_range_is_told(tmp_path: Path, margin: float, alpha: float) -> None:
    with pytest.raises(UserError, match="must"):
        decide_file(write(tmp_path / "s.csv", binary(50, 1, 1)), margin, alpha)


def test_a_batch_says_of_each_draw_what_its_own_file_says(tmp_path: Path) -> None:
    draws = {
        "b": binary(300, 10, 20),
        "a": binary(200, 60, 0),
        "none": [("x", "g", 1.0, "")],
        "c": [(*r[:2], 0.5, 0.4) for r in binary(90, 0, 0)],
    }
    lines = [f"{','.join(map(str, row))},{draw}\n" for draw, rows in draws.items() for row in rows]
    (tmp_path / "batch.csv").write_text("item,group,champion,candidate,draw\n" + "".join(lines), encoding="utf-8")
    found = list(decide_batch(str(tmp_path / "batch.csv"), 0.03, 0.05))
    for line, (draw, rows) in zip(found, draws.items(), strict=True):
        assert line == {"draw": draw} | decide_file(write(tmp_path / "s.csv", rows), 0.03, 0.05)


@pytest.mark.parametrize(("looks", "alpha"), [(1, 0.05), (30, 0.05), (60, 0.0125)])
def test_alpha_shrinks_after_the_planned_looks(looks: int, alpha: float) -> None:
    assert spent_alpha(0.05, 30, looks) == pytest.approx(alpha)


def test_the_looks_of_a_lifetime_cost_twice_the_planned_ones() -> None:
    assert sum(spent_alpha(0.05, 30, look) for look in range(1, 10_000)) < 2 * 0.05 * 30


def prepare(night: Night, scores: dict[str, list[tuple]], candidate: str = "new") -> None:
    """What evaluate leaves behind: scores, predictions and examples, its result and its look."""
    versions = {}
    rows = [(metric, *row) for metric, found in scores.items() for row in found]
    names = ("metric", "example_id", "group_id", "champion", "candidate")
    versions["scores"] = night.lake.replace(
        "scores", [dict(zip(names, row, strict=True)) | {"night": night.night} for row in rows], night=night.night
    )
    answered = [
        {"example_id": item, "group_id": group, "night": night.night, "model": model, "label": "red" if right else "blue"}
        for item, group, *pair in scores.get("accuracy", [])
        for model, right in zip(("old", candidate), pair, strict=True)
        if right is not None
    ]
    versions["predictions"] = night.lake.replace("predictions", answered, night=night.night)
    examples = [{"example_id": row[0], "label": "red", "split": "test", "night": night.night} for row in scores.get("accuracy", [])]
    result = {"champion": {"key": "old"}, "candidate": {"key": candidate}} | versions
    for step, body in (("split", {"examples": night.lake.replace("examples", examples, night=night.night)}), ("evaluate", result)):
        at = datetime.datetime.now(datetime.UTC)
        key = f"{step}-{night.night}-{versions}"
        night.lake.append("memo", [{"night": night.night, "step": step, "key": key, "result": json.dumps(body | {"key": key}), "at": at}])
    ledger.append(night.lake, night.night, "look", {"candidate": candidate})


def opened(house: Callable[..., Path], night: str = "2026-11-20", **changes: object) -> Night:
    metrics = {"accuracy": 0.03, "chrf": 0.02}
    house(task={"answer": "label_reply"}, gate={"metrics": metrics} | changes)
    return open_night("small", "local", night)


def graded(shift: float, seed: int = 0) -> list[tuple]:
    values = np.random.default_rng(seed).normal(0.5, 0.1, 400)
    noise = np.random.default_rng(seed + 1).normal(shift, 0.05, 400)
    return [(f"i{place}", f"g{place}", float(old), float(old + d)) for place, (old, d) in enumerate(zip(values, noise, strict=True))]


BETTER, EQUAL, WORSE = binary(400, 5, 60), binary(400, 6, 6), binary(400, 60, 5)


@pytest.mark.parametrize(
    ("accuracy", "chrf", "verdict", "words"),
    [
        (BETTER, graded(0.0), "PROMOTE", "Better on accuracy"),
        (EQUAL, graded(0.05), "PROMOTE", "Better on chrf"),
        (EQUAL, graded(0.0), "INSUFFICIENT_DATA", "nowhere shown better"),
        (BETTER, graded(-0.1), "REJECT", "chrf"),
        (WORSE, graded(0.05), "REJECT", "accuracy"),
        (binary(400, 30, 30), graded(0.05), "INSUFFICIENT_DATA", "on both sides of the margin"),
        (BETTER[:20], graded(0.05), "INSUFFICIENT_DATA", "accuracy"),
    ],
)
def test_verdict_of_a_night(house: Callable[..., Path], accuracy: list, chrf: list, verdict: str, words: str) -> None:
    night = opened(house)
    prepare(night, {"accuracy": accuracy, "chrf": chrf})
    found = gate("small", "local", night.night)
    assert found["verdict"] == verdict
    assert words in found["reason"]


def test_the_night_and_the_file_agree(house: Callable[..., Path], tmp_path: Path) -> None:
    night = opened(house)
    prepare(night, {"accuracy": EQUAL, "chrf": graded(0.0)})
    nightly = gate("small", "local", night.night)["metrics"]["accuracy"]
    file = decide_file(write(tmp_path / "s.csv", EQUAL), 0.03, 0.05)
    assert {key: nightly[key] for key in ("n", "clusters", "difference", "bound", "visible")} == {
        key: file[key] for key in ("n", "clusters", "difference", "bound", "visible")
    }


def test_better_is_corrected_for_the_number_of_metrics(house: Callable[..., Path]) -> None:
    night = opened(house)
    prepare(night, {"accuracy": binary(400, 6, 14), "chrf": graded(0.0, seed=8)})
    alone = decide_file_bound(0.05)
    assert alone > 0 > decide_file_bound(0.025)
    assert gate("small", "local", night.night)["verdict"] == "INSUFFICIENT_DATA"


def decide_file_bound(alpha: float) -> float:
    from pipelines.foundation import statistics

    return statistics.compare([new - old for _, _, old, new in binary(400, 6, 14)], range(400), alpha).low


def test_macro_f1_is_read_from_the_predictions(house: Callable[..., Path]) -> None:
    night = opened(house, metrics={"macro_f1": 0.05})
    prepare(night, {"accuracy": [*BETTER, ("x", "gx", None, 1.0)]})
    found = gate("small", "local", night.night)["metrics"]["macro_f1"]
    assert (found["n"], found["missing"], found["verdict"]) == (400, 1, "PASS")
    assert found["difference"] == pytest.approx(found["candidate"] - found["champion"], abs=2e-6)


def test_the_verdict_and_its_evidence_are_in_the_ledger_once(house: Callable[..., Path]) -> None:
    night = opened(house)
    prepare(night, {"accuracy": BETTER, "chrf": graded(0.0)})
    first, again = gate("small", "local", night.night), gate("small", "local", night.night)
    verdicts = [entry for entry in ledger.entries(night.lake) if entry.kind == "verdict"]
    assert (first["memo"], again["memo"], len(verdicts)) == (False, True, 1)
    assert verdicts[0].body["metrics"] == first["metrics"]
    assert ledger.verify(night.lake) == 2


def test_past_the_planned_looks_alpha_shrinks_and_the_reason_says_so(house: Callable[..., Path]) -> None:
    night = opened(house, looks=2)
    for day in ("2026-11-17", "2026-11-18", "2026-11-19", "2026-11-19"):
        ledger.append(night.lake, day, "look", {"candidate": f"c{day}"})
    ledger.append(night.lake, "2026-11-21", "look", {"candidate": "later"})
    prepare(night, {"accuracy": BETTER, "chrf": graded(0.0)})
    found = gate("small", "local", night.night)
    assert (found["looks"], found["alpha"]) == (4, 0.0125)
    assert "looked at 4 times and 2 are planned: alpha is 0.0125" in found["reason"]


def test_the_champion_itself_is_not_promoted(house: Callable[..., Path]) -> None:
    night = opened(house)
    prepare(night, {"accuracy": BETTER, "chrf": graded(0.05)}, candidate="old")
    found = gate("small", "local", night.night)
    assert found["verdict"] == "INSUFFICIENT_DATA"
    assert "nothing to promote" in found["reason"]


def test_a_metric_that_was_not_measured_is_told(house: Callable[..., Path]) -> None:
    night = opened(house)
    prepare(night, {"accuracy": BETTER})
    with pytest.raises(UserError, match="gate.metrics names chrf, but evaluate of 2026-11-20 wrote no score"):
        gate("small", "local", night.night)
