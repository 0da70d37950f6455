"""Slips of the hand: a message altered without a model keeps its numbers, its placeholders and its meaning."""

import random

import pytest

from pipelines.data.synthesis import augment
from pipelines.data.synthesis.filters import NUMBER, PLACEHOLDER

TEXTS = (
    "I paid £1,250.50 to <NAME_2> on 3 May, where is it?",
    "My card didn't arrive. <EMAIL> is my address!",
    "card",
    "Überweisung fehlt, why is that?",
    "",
    "??",
    "\n\n<NAME> \t 12",
)


@pytest.mark.parametrize("method", augment.METHODS)
@pytest.mark.parametrize("text", TEXTS)
def test_numbers_and_placeholders_are_never_touched(method: str, text: str) -> None:
    for seed in range(60):
        altered = augment.alter(method, text, random.Random(seed), 0.5)
        assert sorted(NUMBER.findall(altered)) == sorted(NUMBER.findall(text))
        assert sorted(PLACEHOLDER.findall(altered)) == sorted(PLACEHOLDER.findall(text))


@pytest.mark.parametrize("method", augment.METHODS)
def test_the_same_seed_gives_the_same_text_and_others_differ(method: str) -> None:
    text = "Could you tell me where my new card is, I have waited for two weeks"
    found = [augment.alter(method, text, random.Random(seed), 0.2) for seed in range(30)]
    assert found == [augment.alter(method, text, random.Random(seed), 0.2) for seed in range(30)]
    assert len(set(found)) > 3 and set(found) != {text}


def test_typos_touch_the_share_of_words_that_is_asked_for() -> None:
    text = "please block card number which somebody stole from pocket"
    for share, least, most in ((0.01, 0, 1), (0.5, 2, 5)):
        altered = augment.alter("typos", text, random.Random(3), share).split()
        assert least <= sum(one != two for one, two in zip(text.split(), altered, strict=True)) <= most


def test_a_slip_hits_a_neighbour_on_the_keyboard() -> None:
    found = {augment._neighbour("g", random.Random(seed)) for seed in range(100)}
    assert found <= set("fhtybv") and len(found) >= 4
    assert augment._neighbour("G", random.Random(1)).isupper() and augment._neighbour("ü", random.Random(1)) == "ü"


def test_casing_changes_no_letter() -> None:
    text = "Where Is my CARD, please?"
    assert {augment.alter("casing", text, random.Random(seed), 0.3).casefold() for seed in range(50)} == {text.casefold()}
