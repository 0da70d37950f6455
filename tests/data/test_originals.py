"""Rows are taken out of the files that they came from, and every other row keeps its line and its content."""

import gzip
import json
from pathlib import Path

import pytest

from pipelines.data.reading.originals import without
from pipelines.data.reading.readers import opened

CSV = 'id;text\n1;"one\ntwo"\n2;"three; ""quoted"""\n\n3;four\n'


def lines(path: Path, name: str) -> dict[int, str]:
    with opened(path, name, (), 20_000) as file:
        return {row.line: row.columns["text"] for row in file.rows}


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("gone", [[2], [4], [6], [2, 6]])
def test_a_row_leaves_a_csv_whatever_its_encoding_and_line_ends(tmp_path: Path, codec: str, end: str, gone: list[int]) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_bytes(CSV.replace("four", "fünf").replace("\n", end).encode(codec))
    before = lines(source, "a.csv")
    assert without(source, "a.csv", gone, target) == len(gone)
    assert lines(target, "a.csv") == {line: text for line, text in before.items() if line not in gone}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_row_leaves_json_lines_and_broken_lines_stay_as_they_are(tmp_path: Path, name: str) -> None:
    source, target = tmp_path / name, tmp_path / f"new-{name}"
    content = b'{"text": "one"}\n{broken\n{"text": "two"}\n'
    source.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert without(source, name, [1, 2], target) == 2
    found = target.read_bytes()
    assert (gzip.decompress(found) if name.endswith(".gz") else found) == b'\n\n{"text": "two"}\n'


def test_a_row_leaves_a_json_array(tmp_path: Path) -> None:
    source, target = tmp_path / "a.json", tmp_path / "b.json"
    source.write_text('[{"text": "one"},\n {"text": "two"},\n {"text": "three"}]')
    assert without(source, "a.json", [2], target) == 1
    assert json.loads(target.read_text()) == [{"text": "one"}, {"text": "three"}]


def test_a_row_leaves_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    source, target = tmp_path / "a.parquet", tmp_path / "b.parquet"
    parquet.write_table(pa.table({"text": ["one", "two", "three"], "n": [1, 2, 3]}), source)
    assert without(source, "a.parquet", [2], target) == 1
    assert parquet.read_table(target).to_pylist() == [{"text": "one", "n": 1}, {"text": "three", "n": 3}]


def test_a_file_that_cannot_be_read_cannot_be_written_anew(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04 zip")
    with pytest.raises(ValueError, match="cannot be read"):
        without(tmp_path / "a.csv", "a.csv", [0], tmp_path / "b.csv")
