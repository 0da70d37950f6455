"""The policy: what is hidden from whom, and never less than before."""

import pytest
from pydantic import ValidationError

from pipelines.foundation import llm, privacy
from pipelines.foundation.messages import Request
from pipelines.foundation.step import open_night
from pipelines.sections import Privacy
from tests.servers import ChatServer

SAID = "I am Priya Sharma, <EMAIL_2>, ring 07700 900123"


def hidden(purpose: str, text: str = SAID, **policies: object) -> str:
    return privacy.hide(text, privacy.shield(Privacy(policies=policies), purpose))


def test_what_leaves_and_what_is_shown_has_types_without_numbers() -> None:
    assert hidden("hosted") == hidden("report") == "I am <NAME>, <EMAIL>, ring <PHONE>"


def test_a_rule_for_a_type_goes_before_the_rule_for_all() -> None:
    assert hidden("hosted", hosted={"NAME": "drop", "*": "pseudonym"}) == "I am , <EMAIL_2>, ring <PHONE>"


def test_what_training_hides_better_is_hidden_as_well_everywhere_after_it() -> None:
    assert hidden("report", train={"reply": {"EMAIL": "drop"}}) == "I am <NAME>, , ring <PHONE>"


def test_what_training_keeps_is_still_hidden_from_others() -> None:
    settings = Privacy(policies={"train": {"*": {"NAME": "keep"}}})
    assert settings.action("train", "NAME", "text") == "keep"
    assert settings.action("hosted", "NAME") == "type"


def test_of_two_rules_for_training_the_one_that_names_the_field_counts() -> None:
    settings = Privacy(policies={"train": {"*": {"NAME": "type", "*": "keep"}, "reply": {"*": "drop"}}})
    found = [settings.action("train", kind, field) for field in ("text", "reply") for kind in ("NAME", "CARD")]
    assert found == ["type", "keep", "drop", "drop"]


@pytest.mark.parametrize("purpose", ["hosted", "report"])
def test_a_purpose_that_shows_more_than_training_is_refused(purpose: str) -> None:
    with pytest.raises(ValidationError, match=rf"policies.{purpose}: NAME: keep shows more than policies.train does, which says pseudonym"):
        Privacy(policies={purpose: {"NAME": "keep"}})


@pytest.mark.parametrize(
    "policies", [{"train": {"text": {"NAME": "hide"}}}, {"train": {"subject": {"*": "drop"}}}, {"hosted": {"MAIL": "drop"}}]
)
def test_an_unknown_word_in_a_policy_is_refused(policies: dict) -> None:
    with pytest.raises(ValidationError):
        Privacy(policies=policies)


def test_a_hidden_text_is_not_changed_again() -> None:
    assert hidden("hosted", hidden("hosted")) == hidden("hosted")


def test_a_model_s_words_get_the_number_back_where_only_one_can_be_meant() -> None:
    source = "I am <NAME_2>, <EMAIL_1> or <EMAIL_2>"
    assert privacy.number_again("Here is <NAME>, <EMAIL>, <CARD>", source) == "Here is <NAME_2>, <EMAIL>, <CARD>"


def test_a_hosted_model_is_sent_no_personal_data_and_the_embedded_one_is_not_asked_for(house: object) -> None:
    with ChatServer() as server:
        house(profile={"endpoints": {"large": server.endpoint().model_dump(mode="json")}})
        night = open_night("small", "local", "2026-11-20")
        replies = [
            reply
            for _, reply in llm.ask(
                night,
                "large",
                [Request("Ask a@b.example", SAID, 20), Request("Ask a@b.example", "I am <NAME>, <EMAIL_1>, ring <PHONE>", 20)],
            )
        ]
        sent = [message["content"] for call in server.calls for message in call.body["messages"]]
    assert sent == ["Ask <EMAIL>", "I am <NAME>, <EMAIL>, ring <PHONE>"]  # two requests that differ in a number are one
    assert [reply.text for reply in replies] == ["re: I am <NAME>, <EMAIL>, ring <PHONE>"] * 2
