"""Any file becomes rows and refusals; none becomes a traceback, a lost row or a changed word."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from pipelines.data.ingest import inspect
from pipelines.data.reading.readers import opened
from pipelines.data.reading.rows import Refusal, Row

HORROR = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "messytables_horror"
WORDS = "Grüße, ¿qué tal? Naïve café señor"


def read(
    folder: Path, content: bytes, name: str = "file.csv", needed: tuple[str, ...] = (), max_bytes: int = 20_000
) -> list[Row | Refusal]:
    path = folder / name
    path.write_bytes(content)
    with opened(path, name, needed, max_bytes) as file:
        return list(file.rows)


def reasons(rows: list[Row | Refusal]) -> list[str]:
    return [row.reason if isinstance(row, Refusal) else "ok" for row in rows]


def look(folder: Path, content: bytes, name: str = "file.csv") -> dict:
    (folder / name).write_bytes(content)
    return inspect(str(folder / name))


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_text_is_the_same_in_every_encoding(tmp_path: Path, codec: str) -> None:
    rows = read(tmp_path, f'id;text\r\n1;"{WORDS}"\r\n'.encode(codec))
    assert [row.columns for row in rows] == [{"id": "1", "text": WORDS}]


@pytest.mark.parametrize(
    ("codec", "texts"),
    [
        ("big5", ["我的卡片還沒有到達，請幫忙", "請問如何更改我的密碼", "轉帳還沒有收到，已經三天了"]),
        ("shift_jis", ["カードが届きません。助けてください", "振込がまだ届いていません", "暗証番号を忘れてしまいました"]),
        (
            "koi8-r",
            [
                "Здравствуйте, моя карта не работает",
                "Где мой перевод? Жду уже третий день",
                "Как изменить адрес доставки новой карты",
                "Спасибо за помощь, всё получилось",
                "С меня дважды списали деньги за один и тот же заказ",
            ],
        ),
        ("cp1250", ["Moja karta nie działa, proszę o pomoc", "Gdzie jest mój przelew? Czekam trzeci dzień", "Dziękuję, udało się"]),
    ],
)
def test_legacy_encodings_of_other_languages_are_told_apart(tmp_path: Path, codec: str, texts: list[str]) -> None:
    rows = read(tmp_path, ("id\ttext\n" + "".join(f"1\t{text}\n" for text in texts)).encode(codec))
    assert [row.columns["text"] for row in rows] == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters_and_line_ends_are_found(tmp_path: Path, mark: str, end: str) -> None:
    lines = [("id", "text"), ("1", f'"a{mark} b, c; d"'), ("2", '"two\nlines"'), ("3", 'he said "hi" to 5\' men')]
    rows = read(tmp_path, end.join(mark.join(cells) for cells in lines).encode())
    assert [row.columns["text"] for row in rows] == [f"a{mark} b, c; d", "two\nlines", 'he said "hi" to 5\' men']


def test_quoting_with_backslashes_and_single_quotes_is_found(tmp_path: Path) -> None:
    assert read(tmp_path, b'id,text\n1,"a \\"b\\", c"\n2,"x"\n')[0].columns["text"] == 'a "b", c'
    assert read(tmp_path, b"id,text\n1,'a, b'\n2,'c, d'\n")[0].columns["text"] == "a, b"


def test_a_decimal_comma_is_no_delimiter_and_prose_is_one_column(tmp_path: Path) -> None:
    assert look(tmp_path, b"x;y\n1,5;2,3\n2,5;3,3\n")["dialect"]["delimiter"] == ";"
    assert look(tmp_path, b"text\nhello, how are you\nfine thanks\nwhere, is, it\n")["accepted"] == 3


def test_lines_above_the_header_are_passed_by_the_mapped_columns(tmp_path: Path) -> None:
    rows = read(tmp_path, b"Report of the branch, 2026\n\nid,text\n1,hello\n", needed=("text",))
    assert (rows[0].line, rows[0].columns) == (4, {"id": "1", "text": "hello"})


def test_a_missing_column_refuses_the_file_and_names_it(tmp_path: Path) -> None:
    refusal = read(tmp_path, b"id,txt\n1,hello\n", needed=("text",))[0]
    assert (refusal.line, refusal.reason) == (0, "missing_column")
    assert "'text'" in refusal.detail and "'txt'" in refusal.detail


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2", "ragged_row"),
        (b"2,b,c", "ragged_row"),
        (b"2,a\x00b", "nul_character"),
        (b"2," + b"x" * 10_000_000, "too_long"),
        (b'2,"' + b"x y\n" * 300_000 + b'"', "too_long"),
        (b'2,"a" b', "bad_quoting"),
        (b"2,\xff\xfe \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", "undecodable"),
        (b"id,text", "repeated_header"),
    ],
)
def test_a_bad_csv_row_is_refused_alone(tmp_path: Path, row: bytes, reason: str) -> None:
    rows = read(tmp_path, b"id,text\n1,a\n" + row + b"\n3,c\n")
    assert reasons(rows) == ["ok", reason, "ok"]
    assert rows[1].line == 3 and len(rows[1].raw) <= 10_000


def test_a_quote_that_never_closes_counts_every_line_that_it_swallows(tmp_path: Path) -> None:
    rows = read(tmp_path, b'id,text\n1,a\n2,"b\n3,c\n4,d\n')
    assert [(row.line, reason) for row, reason in zip(rows, reasons(rows), strict=True)] == [
        (2, "ok"), (3, "unclosed_quote"), (4, "unclosed_quote"), (5, "unclosed_quote"),
    ]  # fmt: skip


def test_an_undecodable_byte_is_named_by_its_offset(tmp_path: Path) -> None:
    content = "id,text\n1,é\n2,ñ\n3,ü\n4,".encode() + b"\xff\n"
    refusal = read(tmp_path, content)[3]
    assert f"0xFF at offset {content.index(0xFF)}" in refusal.detail
    whole = read(tmp_path, "id,text\n1,é\n".encode("utf-16") + b"\x00")[0]
    assert whole.reason == "undecodable" and whole.line == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken", "not_json"),
        (b"", "ok"),
        (b'{"a": NaN}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
        (b"[1, 2]", "not_an_object"),
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b'{"a": "\\ud800"}', "undecodable"),
        (b'{"a": "\xff"}', "undecodable"),
        (b'{"a": {"b": ["\\u0000"]}}', "nul_character"),
        (b'{"a": "' + b"x" * 10_000_000 + b'"}', "too_long"),
    ],
)
def test_a_bad_json_line_is_refused_alone(tmp_path: Path, line: bytes, reason: str) -> None:
    rows = read(tmp_path, b'{"a": 1}\n' + line + b'\n{"a": 3}\n', "file.jsonl")
    assert reasons(rows) == ["ok", *([reason] if line else []), "ok"]


def test_a_json_array_is_streamed_with_the_numbers_of_its_rows(tmp_path: Path) -> None:
    array = "[\n" + ",\n".join(json.dumps({"n": n, "text": "x" * 500}) for n in range(1000)) + "\n]"
    rows = read(tmp_path, array.encode(), "file.json")
    assert [row.line for row in rows] == list(range(1, 1001))


@pytest.mark.parametrize("tail", [b',,{"n": 2}]', b"", b'{"n": 2}]', b"] more", b",]", b',{"n": '])
def test_a_broken_json_array_keeps_what_came_before(tmp_path: Path, tail: bytes) -> None:
    assert reasons(read(tmp_path, b'[{"n": 1}' + tail, "file.json")) == ["ok", "not_json"]


def test_parquet_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": ["a", None], "at": pa.array([1, 2], pa.timestamp("s"))}), tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    assert [row.columns["text"] for row in read(tmp_path, gzip.compress(good))] == ["a", None]
    assert reasons(read(tmp_path, good, needed=("label",))) == ["missing_column"]
    assert reasons(read(tmp_path, good[:-20])) == ["file_unreadable"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "file_empty"),
        (b"\n \n", "file_empty"),
        (b"\xef\xbb\xbf", "file_empty"),
        (b"PK\x03\x04" + bytes(100), "file_unreadable"),
        (bytes(range(256)) * 9, "file_unreadable"),
        (gzip.compress(b"id,text\n1,a\n" * 99)[:-9], "file_unreadable"),
        (gzip.compress(gzip.compress(b"id,text\n1,a\n")), "file_unreadable"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_refusal_at_line_0(tmp_path: Path, content: bytes, reason: str) -> None:
    rows = read(tmp_path, content)
    assert [(row.line, row.reason) for row in rows] == [(0, reason)]


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    packed = look(tmp_path, gzip.compress(b'{"a": 1}\n'), "a.jsonl.gz"), look(tmp_path, gzip.compress(b"a,b\n1,2\n"), "b.csv")
    assert [found["accepted"] for found in packed] == [1, 1]


@pytest.mark.skipif(not HORROR.is_dir(), reason="the public files messytables_horror are not on this machine")
def test_real_broken_files_are_read_whole() -> None:
    found = {path.name: inspect(str(path)) for path in HORROR.iterdir() if path.suffix != ".md"}
    assert {name: (f["dialect"]["delimiter"], f["accepted"], f["quarantined"].get("ragged_row", 0)) for name, f in found.items()} == {
        "complex.csv": (",", 3, 0),
        "long.csv": (",", 3999, 0),
        "null.csv": (",", 9, 0),
        "simple.csv": (",", 6, 0),
        "simple.psv": ("|", 28, 0),
        "simple.ssv": (";", 6, 0),
        "skip_initials.csv": (",", 2, 0),
        "spanish_chars.csv": (",", 116, 0),
        "utf8bom.csv": (",", 0, 0),
        "weird_head_padding.csv": (";", 60, 16),
    }
    assert found["spanish_chars.csv"]["encoding"] == "cp1252"


def test_two_hundred_mutilated_files_give_counts_and_no_traceback(tmp_path: Path) -> None:
    chance = random.Random(7)
    csv = "".join(f'{n},"text {n}, {WORDS}",red\r\n' for n in range(30))
    jsonl = "".join(json.dumps({"id": n, "text": f"text {n} {WORDS}"}, ensure_ascii=False) + "\n" for n in range(30))
    seeds = [f"id,text,label\r\n{csv}".encode(codec) for codec in ("utf-8", "utf-16", "cp1252")] + [jsonl.encode(), f"[{jsonl}]".encode()]
    seeds += [gzip.compress(seeds[0]), jsonl.replace("\n", ",\n").encode()]
    seen: Counter[str] = Counter()
    for n in range(200):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data) + 1)
            piece = chance.choice([b"\x00", b'"', b"\xff\xfe", b"\r", b"\n", b"{", b",", b"\\", chance.randbytes(5), b""])
            data[at : at + chance.choice([0, 1, 40])] = piece
        found = look(tmp_path, bytes(data), f"f{n}" + chance.choice([".csv", ".jsonl", ""]))
        assert found["read"] == found["accepted"] + sum(found["quarantined"].values())
        seen.update(found["quarantined"])
    assert len(seen) >= 5
