"""Verdicts on files of scores."""

import json
import math
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.release.score_files import decide_batch, decide_file

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
