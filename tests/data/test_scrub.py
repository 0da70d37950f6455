"""Scrubbing: what is personal data goes, what only looks like it stays, and the raw text is read nowhere else."""

import csv
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.data.scrub import scrub, scrub_lines
from pipelines.errors import UserError
from pipelines.foundation import privacy
from pipelines.foundation.step import Night, open_night, step
from pipelines.sections import Privacy

House = Callable[..., Path]
NIGHT = "2026-11-20"
DATA = Path(__file__).parents[2].parent / "shared" / "data"
# (type, as it is written in a message, the part that must go)
FOUND = [
    ("EMAIL", "write to anna.k+bank@post.example please", "anna.k+bank@post.example"),
    ("PHONE", "ring 07700 900123 after five", "07700 900123"),
    ("PHONE", "ring +44 (0)20 7946 0568", "+44 (0)20 7946 0568"),
    ("PHONE", "best to call, 303-555-0199", "303-555-0199"),
    ("PHONE", "best to call, (312) 555-0121.", "(312) 555-0121"),
    ("PHONE", "my phone is 555-0187 now", "555-0187"),
    ("PHONE", "tel +49 30 23125 271", "+49 30 23125 271"),
    ("IBAN", "pay to DE89 3704 0044 0532 0130 00 today", "DE89 3704 0044 0532 0130 00"),
    ("IBAN", "pay to GB82WEST12345698765432.", "GB82WEST12345698765432"),
    ("CARD", "the card 5555 5555 5555 4444 is gone", "5555 5555 5555 4444"),
    ("CARD", "the card 2223-0000-4841-0010 is gone", "2223-0000-4841-0010"),
    ("CARD", "amex 3782 822463 10005", "3782 822463 10005"),
    ("SSN", "my SSN is 856-45-6789", "856-45-6789"),
    ("SSN", "social security number: 856456789", "856456789"),
    ("IP", "last seen from 198.51.100.29.", "198.51.100.29"),
    ("IP", "last seen from 2001:db8::8a2e:370:7334", "2001:db8::8a2e:370:7334"),
    ("NAME", "hello, my name is Zanele Gillow, not impressed", "Zanele Gillow"),
    ("NAME", "my name is ewan smith", "ewan smith"),
    ("NAME", "I'm Priya Sharma and I need help", "Priya Sharma"),
    ("NAME", "This is Dmitri Blakeney writing.", "Dmitri Blakeney"),
    ("NAME", "please call Mrs O'Connor back", "O'Connor"),
    ("NAME", "where is it? Kind regards,\nZoë Krüger", "Zoë Krüger"),
    ("NAME", "where is it? Thanks, Maria", "Maria"),
    ("NAME", "I sent it to Luca Ferrari yesterday", "Luca Ferrari"),
]
KEPT = [
    "I paid £4,184.25 on 2026-11-20 at 14:05:22, reference HV-48213",
    "the card 5555 5555 5555 4445 fails the checksum",
    "DE89370400440532013001 fails the checksum",
    "May I use Apple Pay in Paris? In April and August I will be in Florence Street",
    "My name is spelled wrong on your letters",
    "I'm Happy with Google Pay, this is Very good",
    "Dear Sir or Madam, Dear Harbour & Vale,",
    "Thanks, Vale Bank",
    "app version 7.4.0 on a Galaxy A54, 10 working days, order 12345678",
    "my <EMAIL> and <NAME> were replaced already, Mr <NAME>",
    "",
]


@pytest.fixture(scope="module")
def detector() -> privacy.Detector:
    return privacy.build(Privacy())


@pytest.mark.parametrize(("kind", "text", "part"), FOUND, ids=[f"{kind} {part}" for kind, _, part in FOUND])
def test_personal_data_becomes_a_typed_placeholder(detector: privacy.Detector, kind: str, text: str, part: str) -> None:
    assert privacy.replace(text, privacy.find(text, detector)) == text.replace(part, f"<{kind}>")


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_personal_data_stays(detector: privacy.Detector, text: str) -> None:
    assert privacy.find(text, detector) == []


def test_a_type_that_is_not_listed_stays() -> None:
    only_mail = privacy.build(Privacy(entities=["EMAIL"]))
    spans = privacy.find("I am Priya Sharma, ring 07700 900123 or write to a@b.example", only_mail)
    assert [span.type for span in spans] == ["EMAIL"]


def test_an_unknown_region_is_named() -> None:
    with pytest.raises(UserError, match="privacy.phone_regions: ENGLAND"):
        privacy.build(Privacy(phone_regions=["GB", "ENGLAND"]))


@pytest.mark.parametrize(
    "text", ["a@" * 10_000, "a.b-" * 5000 + "@", "1" * 20_000, "+1 " * 6000, "Anna Maria " * 1800, "::1" * 6000, "1.2-3 " * 3000]
)
def test_a_hostile_text_takes_no_long_time(detector: privacy.Detector, text: str) -> None:
    started = time.process_time()
    privacy.find(text, detector)
    assert time.process_time() - started < 3


def test_public_banking_questions_hold_hardly_any_personal_data(detector: privacy.Detector) -> None:
    path = DATA / "banking77" / "train.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with path.open(encoding="utf-8") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)]
    assert sum(bool(privacy.find(text, detector)) for text in texts) <= 0.005 * len(texts)


def test_public_sentences_reach_the_bars(detector: privacy.Detector) -> None:
    path = DATA / "presidio_research" / "synth_dataset_v2.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    types = {"EMAIL_ADDRESS": "EMAIL", "IBAN_CODE": "IBAN", "CREDIT_CARD": "CARD", "US_SSN": "SSN"}
    for row in json.loads(path.read_text()):
        found = {(span.type, span.start) for span in privacy.find(row["full_text"], detector) if span.type in types.values()}
        assert found == {(types[span["entity_type"]], span["start_position"]) for span in row["spans"] if span["entity_type"] in types}


def traffic(number: int, text: str, **changes: object) -> dict:
    base = {"row_id": str(number), "file": "f", "source": "f.jsonl", "line": number, "night": NIGHT, "day": NIGHT, "text": text}
    return base | {"reply": None, "attributes": "{}"} | changes


def run(rows: list[dict], refused: tuple[int, ...] = ()) -> dict:
    @step(code=1, extra=lambda _: {"given": rows})
    def ingest(night: Night) -> dict:
        return {"traffic": night.lake.replace("traffic", rows, night=NIGHT)}

    @step(code=1, after="ingest", extra=lambda _: {"given": refused})
    def validate(night: Night) -> dict:
        bad = [{"file": "f", "line": line, "night": NIGHT, "step": "validate", "reason": "text_length"} for line in refused]
        return {"quarantine": night.lake.replace("quarantine", bad, night=NIGHT, step="validate")}

    ingest("small", "local", NIGHT), validate("small", "local", NIGHT)
    return scrub("small", "local", NIGHT)


def clean() -> list[dict]:
    lake = open_night("small", "local", NIGHT).lake
    return sorted(lake.read("clean", lake.version("clean")).to_pylist(), key=lambda row: row["line"])


def test_text_reply_and_attributes_are_scrubbed_and_counted(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house()
    attributes = json.dumps({"note": "call 07700 900123", "tags": ["a@b.example"], "amount": 12})
    caplog.set_level(logging.DEBUG)
    result = run([traffic(1, "I am Priya Sharma", reply="Mail a@b.example", attributes=attributes), traffic(2, "hello")])
    row = clean()[0]
    assert (row["text"], row["reply"]) == ("I am <NAME>", "Mail <EMAIL>")
    assert json.loads(row["attributes"]) == {"note": "call <PHONE>", "tags": ["<EMAIL>"], "amount": 12}
    assert (result["rows"], result["touched"], result["entities"]) == (2, 1, {"EMAIL": 2, "NAME": 1, "PHONE": 1})
    assert "Priya" not in caplog.text and "a@b" not in caplog.text


def test_rows_that_validate_refused_are_not_in_clean(house: House) -> None:
    house()
    assert run([traffic(line, "hello") for line in (1, 2, 3)], refused=(2,))["rows"] == 2
    assert [row["line"] for row in clean()] == [1, 3]


def test_a_second_run_with_other_settings_replaces_the_night(house: House) -> None:
    rows = [traffic(1, "I am Priya Sharma, a@b.example")]
    for entities, text in ((["NAME"], "I am <NAME>, a@b.example"), (["EMAIL"], "I am Priya Sharma, <EMAIL>")):
        house(privacy={"entities": entities})
        run(rows)
        assert [row["text"] for row in clean()] == [text]


def test_a_night_without_rows_leaves_an_empty_table(house: House) -> None:
    house()
    result = run([])
    assert (result["rows"], clean()) == (0, [])


def test_each_line_of_a_file_gives_its_findings(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"text": "Zoë: a@b.example"}\n\n{"text": "nothing"}\n', encoding="utf-8")
    rows = list(scrub_lines(str(path)))
    assert rows[0] == {"text": "Zoë: <EMAIL>", "spans": [{"type": "EMAIL", "start": 5, "end": 16, "score": 0.5}]}
    assert rows[1] == {"text": "nothing", "spans": []}


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"text": 3}', b'{"other": "x"}', b'"\xff"'])
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line)
    with pytest.raises(UserError, match="rows.jsonl: line 2 "):
        list(scrub_lines(str(path)))


def test_a_missing_file_is_a_message() -> None:
    with pytest.raises(UserError, match="there is no file nowhere.jsonl"):
        list(scrub_lines("nowhere.jsonl"))


def test_importing_the_step_loads_no_heavy_library() -> None:
    code = "import sys, pipelines.data.scrub; print(sorted({'presidio_analyzer', 'spacy', 'torch', 'faker', 'pyarrow'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert shown.stdout.strip() == "[]"
