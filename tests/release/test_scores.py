"""Bad files of scores through the command line: a right answer, or one message that names the row and exit code 2."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.settings import ROOT

HEADER = "item,group,champion,candidate\n"
Printed = pytest.CaptureFixture[str]


def told(path: Path, content: str | bytes, capsys: Printed, *options: str) -> dict:
    """The verdict on a file; nothing but this JSON may be printed."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["gate", "--scores", str(path), "--margin", "0.03", "--json", *options]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out, parse_constant=pytest.fail)


def rows(n: int, form: str = "i{0},g{0},1,1\n") -> str:
    return "".join(form.format(place) for place in range(n))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.csv", HEADER + "1,1,1,1\n2,2,nan,1\n", "line 3, column champion: 'nan' is not a finite number"),
        ("s.csv", HEADER + "1,1,1,-inf\n", "line 2, column candidate: '-inf' is not a finite number"),
        ("s.csv", HEADER + "1,1,1e400,1\n", "line 2, column champion: '1e400' is not a finite number"),
        ("s.csv", HEADER + "1,1,1e308,-1e308\n", "line 2, column champion: '1e308' is not a finite number below 1e100"),
        ("s.csv", HEADER + "1,1,1_0,1\n", "line 2, column champion: '1_0' is not a finite number"),
        ("s.csv", HEADER + '1,1,"0,5",1\n', "line 2, column champion: '0,5' is not a finite number"),
        ("s.csv", HEADER + "1,1,1,0\n2,2,0,maybe\n", "line 3, column candidate: 'maybe' is not a finite number"),
        ("s.csv", HEADER + "1,1,1,0\n2,1,1,0\n 1,2,1,1\n", "line 4, column item: '1' was already on line 2"),
        ("s.csv", HEADER + "1, ,1,0\n", "line 2, column group: ' ' is no name"),
        ("s.csv", HEADER, "holds no scores"),
        ("s.csv", b"\xef\xbb\xbf" + HEADER.encode(), "holds no scores"),
        ("s.csv", "", "is empty"),
        ("s.csv", HEADER.replace(",", ";") + "1;1;1;1\n", "line 1: the column item is missing; found: item;group;champion;candidate"),
        ("s.csv", HEADER.replace(",", "\t") + "1\t1\t1\t1\n", "line 1: the column item is missing"),
        ("s.csv", HEADER + "1;1;1;1\n", "line 2: 1 cells, but the header has 4 columns"),
        ("s.csv", HEADER + '"1,1,1,1\n', "line 2: 1 cells, but the header has 4 columns"),
        ("s.csv", HEADER.replace("group", "item"), "line 1: the column item is named twice"),
        pytest.param("s.csv", HEADER + "x" * 200_000 + ",1,1,1\n", "line 2: field larger than field limit", id="a huge cell"),
        ("s.csv", HEADER.encode("utf-16"), "is not UTF-8 text"),
        ("s.jsonl", '{"item": 1, "group": 1, "champion": 1, "candidate": 0}\n{"item": 2, "group"\n', "line 2: not a JSON object"),
        ("s.jsonl", '{"item": 1, "group": 1, "champion": 1, "candidate": Infinity}\n', "line 1, column candidate: 'inf' is not a finite"),
        ("s.jsonl", '{"item": 1, "group": 1, "champion": 1' + "0" * 400 + ', "candidate": 0}\n', "line 1, column champion: '1000"),
        ("s.jsonl", '{"item": [1], "group": 1, "champion": 1, "candidate": 0}\n', "line 1, column item: [1] is no name"),
        pytest.param("s.jsonl", "[" * 100_000 + "\n", "line 1: not a JSON object", id="a deep list"),
        ("s.json", '[{"item": 1, "group": 1, "champion": 1, "candidate": 0}]\n', "line 1: not a JSON object but list"),
    ],
)
def test_a_bad_file_is_one_message_with_the_row(tmp_path: Path, capsys: Printed, name: str, content: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["gate", "--scores", str(tmp_path / name), "--margin", "0.03", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"nightshift: {tmp_path / name}")
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("name", ["none.csv", ""])
def test_a_file_that_is_not_there_or_a_folder_is_told(tmp_path: Path, capsys: Printed, name: str) -> None:
    assert main(["gate", "--scores", str(tmp_path / name), "--json"]) == 2
    assert capsys.readouterr().err == f"nightshift: there is no file {tmp_path / name}\n"


def test_the_process_ends_with_code_2_and_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(HEADER + "1,1,1,nan\n")
    command = [sys.executable, "-m", "pipelines", "gate", "--scores", str(tmp_path / "s.csv"), "--margin", "0.03", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr


def test_line_ends_byte_order_mark_and_quotes_change_nothing(tmp_path: Path, capsys: Printed) -> None:
    plain = HEADER + rows(40) + "x,gx,1,0\n"
    expected = told(tmp_path / "a.csv", plain, capsys)
    assert told(tmp_path / "b.csv", plain.replace("\n", "\r\n"), capsys) == expected
    assert told(tmp_path / "c.csv", b"\xef\xbb\xbf" + plain.encode(), capsys) == expected
    assert told(tmp_path / "d.csv", plain.replace("x,gx", '"x,1 ""y""","g,x"'), capsys) == expected
    assert told(tmp_path / "e.csv", plain + "\n\n", capsys) == expected


def test_an_answer_missing_on_either_side_is_counted(tmp_path: Path, capsys: Printed) -> None:
    found = told(tmp_path / "s.csv", HEADER + rows(40) + "x,gx,1,\ny,gy,,0\nz,gz,,\n", capsys)
    assert (found["n"], found["missing"], found["difference"]) == (40, 3, 0.0)
    line = '{{"item": {0}, "group": {0}, "champion": 1, "candidate": null}}\n'
    assert told(tmp_path / "s.jsonl", rows(5, line), capsys)["missing"] == 5


def test_one_group_decides_nothing_however_many_items(tmp_path: Path, capsys: Printed) -> None:
    found = told(tmp_path / "s.csv", HEADER + rows(500, "{0},same,0,1\n"), capsys)
    assert (found["verdict"], found["clusters"], found["low"]) == ("INSUFFICIENT_DATA", 1, None)


@pytest.mark.parametrize(("n", "verdict"), [(60, "INSUFFICIENT_DATA"), (300, "PROMOTE")])
def test_ties_alone_promote_only_where_they_are_many(tmp_path: Path, capsys: Printed, n: int, verdict: str) -> None:
    found = told(tmp_path / "s.csv", HEADER + rows(n), capsys)
    assert (found["verdict"], found["difference"]) == (verdict, 0.0)
    assert found["low"] == -found["high"] < 0


def test_grades_of_0_1_2_are_scores_like_any_other(tmp_path: Path, capsys: Printed) -> None:
    body = "".join(f"{place},{place},{place % 3},{min(2, place % 3 + place % 2)}\n" for place in range(120))
    found = told(tmp_path / "s.csv", HEADER + body, capsys)
    assert (found["verdict"], found["difference"]) == ("PROMOTE", round(40 / 120, 6))
    assert 0 < found["low"] < found["difference"] < found["high"]


def test_100_000_rows_take_seconds(tmp_path: Path, capsys: Printed) -> None:
    started = time.perf_counter()
    found = told(tmp_path / "s.csv", HEADER + rows(100_000), capsys)
    assert (found["verdict"], found["n"], found["clusters"]) == ("PROMOTE", 100_000, 100_000)
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    ("option", "value"), [("--margin", "-1"), ("--margin", "nan"), ("--alpha", "0"), ("--alpha", "0.5"), ("--alpha", "x")]
)
def test_an_option_out_of_range_is_named(tmp_path: Path, capsys: Printed, option: str, value: str) -> None:
    (tmp_path / "s.csv").write_text(HEADER + rows(40))
    try:
        code: object = main(["gate", "--scores", str(tmp_path / "s.csv"), f"{option}={value}", "--json"])
    except SystemExit as ended:  # argparse, where it is no number at all
        code = ended.code
    assert code == 2
    assert option in capsys.readouterr().err


def test_a_batch_without_its_column_is_told(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "s.csv").write_text(HEADER + rows(40))
    assert main(["gate", "--scores", str(tmp_path / "s.csv"), "--batch", "--json"]) == 2
    assert "line 1: the column draw is missing" in capsys.readouterr().err
