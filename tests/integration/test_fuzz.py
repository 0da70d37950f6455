"""Ten thousand mutilated files of every format: each gives rows and refusals that add up, none an exception, none takes long."""

import datetime
import gzip
import io
import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.data.ingest import inspect
from pipelines.data.reading import schemas
from pipelines.data.reading.mapping import accept, mapping
from pipelines.data.reading.readers import opened
from pipelines.data.reading.rows import Refusal
from pipelines.sections import Source, UseCase

WORDS = "Grüße, ¿qué tal? 我的卡片"
ROWS = [{"id": n, "text": f'he said "hi {n}", {WORDS}', "label": "red", "at": f"2026-11-{n + 1:02d}T10:00:00Z"} for n in range(12)]
USECASE = UseCase(name="small", description="", sources=[Source(path="a")], gate={"metrics": {"accuracy": 0.1}})
HOW = mapping(USECASE.sources[0], USECASE, "f" * 64, "a", "2026-11-20", "2026-11-20")
EXAMPLES, SECONDS = 715, 20  # of each of the 14 seeds; for one file on a machine that is busy with others
PIECES = (b"\x00", b'"', b"'", b"\n", b"\r", b"\r\n", b",", b";", b"\t", b"{", b"}", b"[", b"]", b"\\", b"\\u0000", b"\\ud800", b"NaN")
PIECES += (
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xed\xa0\x80",
    b"\xc3",
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"PAR1",
    b"sep=;\n",
    b"9" * 5000,
)
PIECES += (b"9" * 5000, b'"' * 30, b"[" * 2000, b'{"a":' * 2000, b"\n" * 50, b"," * 300, b"x" * 30_000)


def table(mark: str, end: str = "\n") -> str:
    lines = [list(ROWS[0])] + [[str(value) for value in row.values()] for row in ROWS]
    quoted = [['"' + cell.replace('"', '""') + '"' if '"' in cell or mark in cell else cell for cell in line] for line in lines]
    return end.join(mark.join(line) for line in quoted) + end


def parquet() -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    nested = [row | {"list": [1, None], "map": {"a": [row["id"]]}, "when": datetime.datetime(2026, 1, 1), "b": b"\xff"} for row in ROWS]
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(nested), out)
    return out.getvalue()


LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
SEEDS: dict[str, Callable[[], bytes]] = {
    "comma.csv": lambda: table(",").encode(),
    "semicolon.csv": lambda: table(";", "\r\n").encode("utf-8-sig"),
    "tab.tsv": lambda: table("\t", "\r").replace("我的卡片", "").encode("cp1252"),
    "utf-16.csv": lambda: table(",").encode("utf-16"),
    "big5.csv": lambda: table("|").replace("ü", "").replace("ß", "").replace("¿", "").replace("é", "").encode("big5"),
    "titled.csv": lambda: ("Report of the branch\n\n" + table(",")).encode(),
    "lines.jsonl": lambda: LINES.encode(),
    "array.json": lambda: json.dumps(ROWS, indent=1).encode(),
    "objects.json": lambda: "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    "utf-16.jsonl": lambda: LINES.encode("utf-16-le"),
    "packed.csv.gz": lambda: gzip.compress(table(",").encode()),
    "packed.jsonl.gz": lambda: gzip.compress(LINES.encode()),
    "rows.parquet": parquet,
    "nameless": lambda: table(",").encode(),
}
CHANGE = st.tuples(
    st.sampled_from(("flip", "delete", "insert", "copy", "cut")), st.integers(0, 1 << 16), st.sampled_from(PIECES), st.integers(1, 60)
)


def mutate(content: bytes, changes: list[tuple[str, int, bytes, int]]) -> bytes:
    data = bytearray(content)
    for kind, place, piece, size in changes:
        at = place % (len(data) + 1)
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << size % 8
        elif kind == "delete":
            del data[at : at + size]
        elif kind == "insert":
            data[at:at] = piece
        elif kind == "copy":
            data[at:at] = data[place % 7 : place % 7 + size * 3]
        elif kind == "cut" and size > 40:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("name", SEEDS)
def test_a_mutilated_file_gives_counts_that_add_up(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    content, path = SEEDS[name](), tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    whole = inspect(str(path))
    assert (whole["accepted"], whole["quarantined"]) == (len(ROWS), {})
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=EXAMPLES, deadline=SECONDS * 1000, derandomize=True, database=None, suppress_health_check=slow)
    @given(st.lists(CHANGE, min_size=1, max_size=6))
    def look(changes: list[tuple[str, int, bytes, int]]) -> None:
        path.write_bytes(mutate(content, changes))
        with opened(path, name, (), 20_000) as file:
            first, rows = schemas.peek(file.rows)
            schemas.describe(first, schemas.form(file.dialect))
            results = [row if isinstance(row, Refusal) else accept(row, HOW) for row in rows]
        for result in results:
            refused = isinstance(result, Refusal)
            assert (result.line >= 0 and result.reason.replace("_", "").isalpha()) if refused else result["text"].strip()
            json.dumps(result.raw if refused else result["attributes"], ensure_ascii=False).encode()

    look()
