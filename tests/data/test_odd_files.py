"""Files as real programs write them: each row is counted, each oddity is passed or refused under its name."""

import gzip
import io
import json
import time
from pathlib import Path

import pytest

from pipelines.data.ingest import inspect
from pipelines.data.reading.readers import opened
from pipelines.data.reading.rows import Refusal, Row

WORDS = "Grüße aus Köln, ça va très bien, señor"
BIG5 = "我的卡片還沒有到達，請幫忙處理這個問題"
PLAIN = "".join(f"{n},text number {n} in plain letters,red\r\n" for n in range(3000)).encode()


def look(folder: Path, content: bytes, name: str = "file.csv") -> tuple[int, dict]:
    """(rows accepted, rows refused by reason)."""
    (folder / name).write_bytes(content)
    found = inspect(str(folder / name))
    assert found["read"] == found["accepted"] + sum(found["quarantined"].values())
    return found["accepted"], found["quarantined"]


def rows(folder: Path, content: bytes, name: str = "file.csv", needed: tuple[str, ...] = ()) -> list[Row | Refusal]:
    (folder / name).write_bytes(content)
    with opened(folder / name, name, needed, 20_000) as file:
        return list(file.rows)


def table(delimiter: str = ",", end: str = "\r\n", text: str = WORDS) -> str:
    lines = [["id", "text", "label"]] + [[str(n), f'"{text} {n}"', "red"] for n in range(200)]
    return end.join(delimiter.join(cells) for cells in lines) + end


@pytest.mark.parametrize(
    "content",
    [
        table().encode("latin-1"),
        table(text=BIG5).encode("big5"),
        b"\xff\xfe" + table("\t").encode("utf-16-le"),
        table(";").encode("utf-16-be"),
        table(end="\r").encode(),
        ("Monthly report\n\nBranch 7;;\n" + table(";", "\n").replace('"', "")).encode(),
        ("sep=;\r\n" + table(";")).encode(),
        gzip.compress(table().encode()[:900]) + gzip.compress(table().encode()[900:]),
        table().encode().replace(b"red\r\n", b"red,,\r\n"),
        table().encode().replace(b"id,", b"", 1),
    ],
    ids=["latin-1", "big5", "utf-16 marked", "utf-16", "CR", "titles", "sep=", "gzip twice", "delimiters at the end", "R's row names"],
)
def test_two_hundred_rows_are_two_hundred_rows(tmp_path: Path, content: bytes) -> None:
    assert look(tmp_path, content) == (200, {})


@pytest.mark.parametrize(
    ("content", "accepted", "refused"),
    [
        (b"a", 0, {}),
        (b"id,text,label\n", 0, {}),
        (b"\xff\xfe", 0, {"file_empty": 1}),
        (b"a,b,c\n1,2,3\n1,2\n1,2,3,4\n4,5,6\n", 2, {"ragged_row": 2}),
        (b"id,text,label\n1,a,b\n2;a;b\n3,a,b\n4\ta\tb\n5,a,b\n", 3, {"ragged_row": 2}),
        (b'id,text\n1,a\n2,"b\n' + b"3,c\n" * 100_000, 1, {"unclosed_quote": 100_001}),
        (b"id,text\n1," + b"x" * 1_000_000 + b"\n2,b\n", 1, {"too_long": 1}),
        (b"id,text\n1,a\n2,b\x00c\n3,d\n", 2, {"nul_character": 1}),
        (b"id,text\n1,a\n2,b\n\x1a", 2, {"ragged_row": 1}),
        (b"<html>\n<body>404, not found</body>\n</html>\n", 0, {"file_unreadable": 1}),
        (gzip.compress(PLAIN)[:500], 0, {"file_unreadable": 1}),
        (b"1.5,2.5\n1.5,2.5\n1.5,2.5\n", 2, {}),
        (b"1.5," * 40_000 + b"2\n", 0, {}),
    ],
)
def test_a_broken_table_is_counted(tmp_path: Path, content: bytes, accepted: int, refused: dict) -> None:
    assert look(tmp_path, content) == (accepted, refused)


def test_one_wrong_byte_far_into_a_file_costs_one_row_at_most(tmp_path: Path) -> None:
    utf8 = b"id,text,label\r\n" + PLAIN.replace(b"plain", "plÄin".encode())
    assert look(tmp_path, utf8[:86_235] + b"\xff" + utf8[86_235:]) == (2999, {"undecodable": 1})
    assert look(tmp_path, b"id,text,label\r\n" + PLAIN[:86_235] + b"\x92" + PLAIN[86_235:]) == (3000, {})  # an apostrophe of Windows


def test_a_name_of_a_column_can_always_be_stored(tmp_path: Path) -> None:
    found = rows(tmp_path, "id,naïf,ü,ö,ä,é".encode() + b"\xff," + b"x" * 5000 + b"\n1,a,b,c,d,e,f\n")
    assert list(found[0].columns) == ["id", "naïf", "ü", "ö", "ä", "é\\xff", "x" * 200]


def test_two_columns_of_one_name_are_both_kept(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    assert rows(tmp_path, b"id,text,text,id\n1,a,b,2\n")[0].columns == {"id": "1", "text": "a", "text.2": "b", "id.2": "2"}
    out = io.BytesIO()
    parquet.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), out)
    assert rows(tmp_path, out.getvalue())[0].columns == {"text": "a", "text.2": "b"}
    assert rows(tmp_path, out.getvalue(), needed=("text",))[0].reason == "duplicate_column"


@pytest.mark.parametrize(
    ("content", "accepted", "refused"),
    [
        (b'{"a": 1}{"a": 2} {"a": 3}', 3, {}),
        (json.dumps({"data": [{"a": 1}, {"a": 2}]}, indent=1).encode(), 1, {}),
        (b'{\n "a": 1\n}\n{\n "a": 2\n}\n{\n "a": ', 2, {"not_json": 1}),
        (b'{"a": 1\n{"a": 2}\n{"a": 3}\n', 2, {"not_json": 1}),
        (b'{"a":1}\n' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b'\n{"a":2}\n', 2, {"not_json": 1}),
        (b'[{"a":1},' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b',{"a":"]"}]', 2, {"not_json": 1}),
        (b'[{"a":1},{"t":"' + b"y" * 3_000_000 + b'"},{"a":2}]', 2, {"too_long": 1}),
        (b'{"a":1}\n' + b'{"a":' * 900 + b'"\\u00e9"' + b"}" * 900 + b'\n{"a":["' + b"[" * 500 + b'"]}\n', 2, {"not_json": 1}),
        (b'[{"a":1},{"a":NaN},{"a":2}]', 2, {"not_json": 1}),
        (b"[" * 100_000, 0, {"not_json": 1}),
        (b"[]", 0, {}),
        (b"42", 0, {"not_an_object": 1}),
    ],
)
def test_json_of_every_layout_is_counted(tmp_path: Path, content: bytes, accepted: int, refused: dict) -> None:
    assert look(tmp_path, content, "file.json") == (accepted, refused)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"same," * 40_000 + b"last\n"),
        ("a.json", b'[{"t":"' + b"y" * 900_000 + b'"}' + b',{"a":1}' * 100_000 + b"]"),
        ("a.jsonl", b"{" + b",".join(b'"k%d":1' % n for n in range(60_000)) + b',"k59999":1}\n'),
        ("a.jsonl", b'{"a":"' + b"9" * 900_000 + b'"}\n'),
        ("b.csv", b"9" * 900_000 + b",b\n" + b"8" * 900_000 + b",b\n"),
        ("c.csv", b'"' * 300_001 + b"\n" + b"a,b\n" * 1000),
        ("d.csv", b', "' * 100_000 + b"\n" * 100_000),
    ],
)
def test_no_layout_takes_more_than_linear_time(tmp_path: Path, name: str, content: bytes) -> None:
    """Each of these took minutes where a step was done again for every cell, key or element."""
    started = time.process_time()
    look(tmp_path, content, name)
    assert time.process_time() - started < 5


def test_a_parquet_value_that_cannot_be_read_costs_its_row_alone(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeok"))
    parquet.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    assert look(tmp_path, (tmp_path / "a.parquet").read_bytes()) == (1, {"undecodable": 1})
    parquet.write_table(pa.table({"at": pa.array([0, 1 << 62], pa.timestamp("us")), "text": ["a", "b"]}), tmp_path / "b.parquet")
    assert look(tmp_path, (tmp_path / "b.parquet").read_bytes()) == (1, {"bad_value": 1})


def test_nested_parquet_is_read_and_half_of_it_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.table({"text": ["a", None], "n": [{"x": [1], "y": None}, None], "b": [b"\xff\x00"] * 2}), out)
    assert look(tmp_path, out.getvalue()) == (2, {})
    for size in (4, 8, 40, len(out.getvalue()) - 20):
        assert look(tmp_path, out.getvalue()[:size]) == (0, {"file_unreadable": 1})


def test_a_folder_and_nothing_are_told_apart(tmp_path: Path) -> None:
    from pipelines.errors import UserError

    with pytest.raises(UserError, match="is a folder: --source takes one file"):
        inspect(str(tmp_path))
    with pytest.raises(UserError, match="is not there: --source takes one file"):
        inspect(str(tmp_path / "nothing"))
