"""Pseudonyms: one value, one number; and what they stand for is kept for the holder of the key alone."""

import base64

import pytest

from pipelines.errors import UserError
from pipelines.foundation import pseudonyms
from pipelines.foundation.pseudonyms import Numbers

KEY = bytes(range(32))
SAME = [
    ("PHONE", "07700 900123", "+44 (0)7700-900123"),
    ("PHONE", "(312) 555-0121", "312.555.0121 x45"),
    ("EMAIL", "Anna.K@Post.example", "anna.k@post.example"),
    ("CARD", "5555 5555 5555 4444", "5555-5555-5555-4444"),
    ("IBAN", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
    ("IP", "2001:db8::1", "2001:0DB8:0::1"),
    ("NAME", "Zoë  O’Connor", "ZOË O'CONNOR"),
]


@pytest.mark.parametrize(("kind", "one", "two"), SAME)
def test_two_ways_of_writing_a_value_have_one_number(kind: str, one: str, two: str) -> None:
    numbers = Numbers()
    assert numbers.give(kind, one) == numbers.give(kind, two) == f"<{kind}_1>"
    assert numbers.give(kind, "something else 9") == f"<{kind}_2>"


def test_each_type_is_numbered_for_itself() -> None:
    numbers = Numbers()
    given = [numbers.give(kind, value) for kind, value in (("NAME", "Ann"), ("EMAIL", "a@b.example"), ("NAME", "Bo"), ("NAME", "Ann"))]
    assert given == ["<NAME_1>", "<EMAIL_1>", "<NAME_2>", "<NAME_1>"]


def test_whoever_gave_a_full_name_is_known_by_its_parts() -> None:
    numbers = Numbers()
    text = "Dear Priya, may Sharma call? priya@x.example, sharma"
    assert numbers.known(text) == []
    numbers.give("NAME", "Priya Sharma")
    assert [text[span.start : span.end] for span in numbers.known(text)] == ["Priya", "Sharma"]
    assert [numbers.give("NAME", name) for name in ("Sharma", "Raj Sharma", "Priya")] == ["<NAME_1>", "<NAME_2>", "<NAME_1>"]


def test_a_name_that_is_a_word_as_well_is_no_part() -> None:
    numbers = Numbers()
    numbers.give("NAME", "April May")
    assert numbers.known("In April or May") == []


def test_a_placeholder_that_the_customer_wrote_is_not_given_to_a_value() -> None:
    numbers = Numbers()
    numbers.reserve("I am <NAME_1> and <EMAIL>")
    assert (numbers.give("NAME", "Ann"), numbers.give("EMAIL", "a@b.example")) == ("<NAME_2>", "<EMAIL_1>")


def test_a_sealed_value_opens_with_its_key_its_row_and_its_placeholder_only() -> None:
    sealed = pseudonyms.seal(KEY, "Zoë", "r1", "<NAME_1>")
    assert "Zoë" not in sealed
    assert pseudonyms.unseal(KEY, sealed, "r1", "<NAME_1>") == "Zoë"
    for key, row, placeholder in ((KEY[::-1], "r1", "<NAME_1>"), (KEY, "r2", "<NAME_1>"), (KEY, "r1", "<NAME_2>")):
        with pytest.raises(UserError, match="the key does not open"):
            pseudonyms.unseal(key, sealed, row, placeholder)


def test_the_same_value_is_never_sealed_to_the_same_words() -> None:
    assert pseudonyms.seal(KEY, "Zoë", "r1", "<NAME_1>") != pseudonyms.seal(KEY, "Zoë", "r1", "<NAME_1>")


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_key_is_read_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch, encode: object) -> None:
    monkeypatch.setenv("OUR_KEY", encode(b"\xff" * 32).decode())
    assert pseudonyms.read_key("OUR_KEY") == b"\xff" * 32


@pytest.mark.parametrize("held", [None, "", "short", "not base64 !", base64.b64encode(b"x" * 16).decode()])
def test_a_missing_or_wrong_key_is_a_message_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch, held: str | None) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    if held is not None:
        monkeypatch.setenv("OUR_KEY", held)
    with pytest.raises(UserError, match="the environment variable OUR_KEY (is not set|holds no key): privacy.key_env") as error:
        pseudonyms.read_key("OUR_KEY")
    assert not held or held not in str(error.value)
