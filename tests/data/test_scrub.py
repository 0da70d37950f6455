"""Scrubbing: what is personal data goes, what only looks like it stays, and the raw text is read nowhere else."""

import base64
import csv
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.data.scrub import reveal, scrub, scrub_lines
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
    ("EMAIL", "write to anna dot k at post dot example", "anna dot k at post dot example"),
    ("IBAN", "pay to de89370400440532013000 today", "de89370400440532013000"),
    ("IBAN", "my iban is DE89 3704 0044 0532 0130 01 please", "DE89 3704 0044 0532 0130 01"),
    ("PHONE", "Office: (378)415-7124x9119", "(378)415-7124x9119"),
    ("CARD", "my card number is 4578 9854 3147 0496", "4578 9854 3147 0496"),
    ("CARD", "2560567578944670", "2560567578944670"),
    ("ACCOUNT", "my account number is 60238475.", "60238475"),
    ("SSN", "last try, ssn number is 98638756", "98638756"),
    ("PHONE", "9600524545 is my phone number", "9600524545"),
    ("PHONE", "A. Mole\n12 Oak Lane\n668 5702-Office", "668 5702"),
    ("PHONE", "the number is 01.84.17.61.18 in France", "01.84.17.61.18"),
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
    "my <EMAIL> and <NAME> were replaced already, Mr <NAME>, <PHONE_2>",
    "order number 4839201845, tracking 4839201845123456",
    "it was charged on 06242018, and again on 20180624",
    "look at example dot com, I am at home dot com",
    "",
]


@pytest.fixture(scope="module")
def detector() -> privacy.Detector:
    found = privacy.build(Privacy())
    privacy.find("Anna Maria, 07700 900123", found)  # what is loaded once is not the first test's time
    return found


@pytest.mark.parametrize(("kind", "text", "part"), FOUND, ids=[f"{kind} {part}" for kind, _, part in FOUND])
def test_personal_data_becomes_a_typed_placeholder(detector: privacy.Detector, kind: str, text: str, part: str) -> None:
    spans = privacy.find(text, detector)
    assert privacy.replace(text, spans, lambda span, _: f"<{span.type}>") == text.replace(part, f"<{kind}>")


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
    "text",
    [
        "a@" * 10_000,
        "a.b-" * 5000 + "@",
        "1" * 20_000,
        "+1 " * 6000,
        "Anna Maria " * 1800,
        "::1" * 6000,
        "1.2-3 " * 3000,
        "a-" * 9000 + "com",
        "a dot b at " * 1500 + "com",
        "call me at " * 1500 + "12345",
        "1 1 " * 4000,
        "card no " * 2000 + "1" * 40,
    ],
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


def test_a_text_is_found_to_hold_the_same_after_anything_else(detector: privacy.Detector) -> None:
    """Nothing is remembered from one text to the next."""
    alone = [privacy.find(text, detector) for _, text, _ in FOUND]
    assert [privacy.find(text, detector) for _, text, _ in reversed(FOUND)] == alone[::-1]


def traffic(number: int, text: str, **changes: object) -> dict:
    base = {"row_id": str(number), "file": "f", "source": "f.jsonl", "line": number, "night": NIGHT, "day": NIGHT, "text": text}
    return base | {"reply": None, "attributes": "{}"} | changes


def run(rows: list[dict], refused: tuple[int, ...] = (), on: str = NIGHT) -> dict:
    rows = [row | {"night": on} for row in rows]

    @step(code=1, extra=lambda _: {"given": rows})
    def ingest(night: Night) -> dict:
        return {"traffic": night.lake.replace("traffic", rows, night=on)}

    @step(code=1, after="ingest", extra=lambda _: {"given": refused})
    def validate(night: Night) -> dict:
        bad = [{"file": "f", "line": line, "night": on, "step": "validate", "reason": "text_length"} for line in refused]
        return {"quarantine": night.lake.replace("quarantine", bad, night=on, step="validate")}

    ingest("small", "local", on), validate("small", "local", on)
    return scrub("small", "local", on)


def clean() -> list[dict]:
    lake = open_night("small", "local", NIGHT).lake
    return sorted(lake.read("clean", lake.version("clean")).to_pylist(), key=lambda row: (row["night"], row["line"]))


def texts() -> list[str]:
    return [row["text"] for row in clean()]


def test_text_reply_and_attributes_are_scrubbed_and_counted(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house()
    attributes = json.dumps({"note": "call 07700 900123", "tags": ["a@b.example"], "amount": 12})
    caplog.set_level(logging.DEBUG)
    result = run([traffic(1, "I am Priya Sharma", reply="Mail a@b.example", attributes=attributes), traffic(2, "hello")])
    row = clean()[0]
    assert (row["text"], row["reply"]) == ("I am <NAME_1>", "Mail <EMAIL_1>")
    assert json.loads(row["attributes"]) == {"note": "call <PHONE_1>", "tags": ["<EMAIL_1>"], "amount": 12}
    assert (result["rows"], result["touched"], result["entities"]) == (2, 1, {"EMAIL": 2, "NAME": 1, "PHONE": 1})
    assert "Priya" not in caplog.text and "a@b" not in caplog.text


def test_rows_that_validate_refused_are_not_in_clean(house: House) -> None:
    house()
    assert run([traffic(line, "hello") for line in (1, 2, 3)], refused=(2,))["rows"] == 2
    assert [row["line"] for row in clean()] == [1, 3]


def test_a_second_run_with_other_settings_replaces_the_night(house: House) -> None:
    rows = [traffic(1, "I am Priya Sharma, a@b.example")]
    for entities, text in ((["NAME"], "I am <NAME_1>, a@b.example"), (["EMAIL"], "I am Priya Sharma, <EMAIL_1>")):
        house(privacy={"entities": entities})
        run(rows)
        assert [row["text"] for row in clean()] == [text]


def talk(number: int, text: str, conversation: str | None, turn: int | None = None, **changes: object) -> dict:
    return traffic(number, text, conversation_id=conversation, turn=turn, **changes)


def test_a_value_has_one_number_in_its_conversation_and_another_conversation_begins_anew(house: House) -> None:
    house()
    run(
        [
            talk(1, "then a@b.example", "c", 2),
            talk(2, "I am Priya Sharma, A@B.example, c@d.example", "c", 1, reply="Dear Priya Sharma, c@d.example"),
            talk(3, "c@d.example", "other's"),
            talk(4, "c@d.example and e@f.example", None),
            talk(5, "e@f.example", None),
        ]
    )
    assert texts() == ["then <EMAIL_1>", "I am <NAME_1>, <EMAIL_1>, <EMAIL_2>", "<EMAIL_1>", "<EMAIL_1> and <EMAIL_2>", "<EMAIL_1>"]
    assert clean()[1]["reply"] == "Dear <NAME_1>, <EMAIL_2>"


def test_a_conversation_that_goes_on_another_night_keeps_its_numbers(house: House) -> None:
    house()
    run([talk(1, "a@b.example", "c", 1), talk(2, "b@b.example", "c", 2)], refused=(2,), on="2026-11-19")
    run([talk(1, "c@b.example, b@b.example, a@b.example", "c", 1), talk(2, "c@b.example", "d")])
    assert texts() == ["<EMAIL_1>", "<EMAIL_3>, <EMAIL_2>, <EMAIL_1>", "<EMAIL_1>"]


def test_more_rows_than_are_held_at_once_are_all_there_and_numbered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house()
    monkeypatch.setattr("pipelines.data.conversations.CHUNK", 3)
    rows = [talk(number, f"a{number % 4}@b.example", f"c{number // 4}" if number % 3 else None) for number in range(40)]
    assert run(rows)["rows"] == 40
    assert [row["line"] for row in clean()] == list(range(40))
    assert {row["text"] for row in clean() if row["conversation_id"] is None} == {"<EMAIL_1>"}


def test_the_policy_for_training_decides_by_field_and_type(house: House) -> None:
    house(privacy={"policies": {"train": {"*": {"NAME": "type"}, "reply": {"EMAIL": "drop"}, "attributes": {"*": "keep"}}}})
    result = run([traffic(1, "I am Priya Sharma, a@b.example", reply="to a@b.example", attributes='{"note": "a@b.example"}')])
    row = clean()[0]
    assert (row["text"], row["reply"], row["attributes"]) == ("I am <NAME>, <EMAIL_1>", "to ", '{"note": "a@b.example"}')
    assert result["entities"] == {"EMAIL": 2, "NAME": 1}


def test_without_a_key_nothing_is_kept_and_with_one_only_its_holder_reads_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house()
    rows = [
        talk(1, "I am Priya Sharma", "c", 1, subject_id="u"),
        talk(2, "Dr Priya Sharma, a@b.example", "c", 2, reply="Hello a@b.example"),
    ]
    assert "pseudonyms" not in run(rows)
    monkeypatch.setenv("OUR_KEY", base64.b64encode(b"k" * 32).decode())
    house(privacy={"key_env": "OUR_KEY"})
    version = run(rows)["pseudonyms"]
    kept = open_night("small", "local", NIGHT).lake.read("pseudonyms", version).to_pylist()
    assert sorted((row["row_id"], row["subject_id"], row["conversation_id"], row["placeholder"]) for row in kept) == [
        ("1", "u", "c", "<NAME_1>"),
        ("2", None, "c", "<EMAIL_1>"),
        ("2", None, "c", "<NAME_1>"),
    ]
    assert "Priya" not in str(kept)
    assert reveal("small", "local", "2") == {"row_id": "2", "text": "Dr Priya Sharma, a@b.example", "reply": "Hello a@b.example"}
    monkeypatch.setenv("OUR_KEY", base64.b64encode(b"x" * 32).decode())
    with pytest.raises(UserError, match="the key does not open"):
        reveal("small", "local", "2")
    with pytest.raises(UserError, match="holds no row 9"):
        reveal("small", "local", "9")
    house()
    with pytest.raises(UserError, match="privacy.key_env of the use case names no environment variable"):
        reveal("small", "local", "2")
    assert run([*rows, talk(3, "hello", "d")])["pseudonyms"] > version
    assert open_night("small", "local", NIGHT).lake.read("pseudonyms", version + 1).num_rows == 0  # what the key had sealed is gone


def test_the_command_restores_a_row_or_says_in_one_message_why_not(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUR_KEY", base64.b64encode(b"k" * 32).decode())
    house(privacy={"key_env": "OUR_KEY"})
    run([traffic(1, "I am Priya Sharma")])
    assert main(["scrub", "--usecase", "small", "--reveal", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "I am Priya Sharma"
    monkeypatch.delenv("OUR_KEY")
    assert main(["scrub", "--usecase", "small", "--reveal", "1"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1) and "OUR_KEY is not set" in told.err


def test_a_key_that_is_not_there_stops_the_step(house: House) -> None:
    house(privacy={"key_env": "NOT_SET_ANYWHERE"})
    with pytest.raises(UserError, match="the environment variable NOT_SET_ANYWHERE is not set"):
        run([traffic(1, "hello")])


def test_a_night_without_rows_leaves_an_empty_table(house: House) -> None:
    house()
    result = run([])
    assert (result["rows"], clean()) == (0, [])


def test_each_line_of_a_file_gives_its_findings(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"text": "Zoë: a@b.example"}\n\n{"text": "nothing"}\n', encoding="utf-8")
    rows = list(scrub_lines(str(path)))
    assert rows[0] == {"text": "Zoë: <EMAIL_1>", "spans": [{"type": "EMAIL", "start": 5, "end": 16, "score": 0.5}]}
    assert rows[1] == {"text": "nothing", "spans": []}


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"text": 3}', b'{"other": "x"}', b'"\xff"'])
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line)
    with pytest.raises(UserError, match="rows.jsonl: line 2 "):
        list(scrub_lines(str(path)))


def test_rows_of_a_file_are_numbered_by_their_conversation(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    said = [("a@b.example", 7), ("c@d.example", 8), ("x@b.example, A@b.example", 7), ("a@b.example", None), ("c@d.example", "")]
    path.write_text("\n".join(json.dumps({"text": text, "conversation_id": name}) for text, name in said))
    assert [row["text"] for row in scrub_lines(str(path))] == ["<EMAIL_1>", "<EMAIL_1>", "<EMAIL_2>, <EMAIL_1>", "<EMAIL_1>", "<EMAIL_1>"]


def test_a_missing_file_is_a_message() -> None:
    with pytest.raises(UserError, match="there is no file nowhere.jsonl"):
        list(scrub_lines("nowhere.jsonl"))


def test_importing_the_step_loads_no_heavy_library() -> None:
    code = "import sys, pipelines.data.scrub; print(sorted({'presidio_analyzer', 'spacy', 'torch', 'faker', 'pyarrow'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert shown.stdout.strip() == "[]"
