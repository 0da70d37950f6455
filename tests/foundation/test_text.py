"""Texts compared as people would: what is the same, what is nearly the same, and what only looks it."""

import random
from collections.abc import Iterable

from pipelines.foundation import text

WORDS = [f"word{n}" for n in range(3000)]
LONG = "my card was declined at the shop in the harbour this morning although there was money on the account"


def joined(pairs: Iterable[tuple[int, int]], size: int) -> list[int]:
    """The smallest member of each row's group."""
    group = list(range(size))
    for one, two in pairs:
        low, high = sorted((group[one], group[two]))
        group = [low if found == high else found for found in group]
    return group


def sentences(count: int) -> list[str]:
    draw = random.Random(1)
    return [" ".join(draw.choices(WORDS, k=draw.randint(8, 25))) for _ in range(count)]


def test_case_width_punctuation_and_spaces_make_no_difference() -> None:
    assert text.normalise("  Ｗhere’s   MY card?!\n") == text.normalise("where’s my card")


def test_a_placeholder_is_one_word() -> None:
    assert text.words("Mail <EMAIL>, please") == ["mail", "<email>", "please"]


def test_words_of_other_scripts_are_words() -> None:
    assert text.words("Где моя карта? ありがとう") == ["где", "моя", "карта", "ありがとう"]


def test_a_text_of_two_words_is_near_only_to_itself() -> None:
    assert list(text.near_duplicates(["card lost", "Card lost!", "card stolen", "lost card", "", " ?"], 0.1)) == [(0, 1), (4, 5)]


def test_one_changed_word_in_a_long_text_is_found() -> None:
    assert list(text.near_duplicates([LONG, "something else entirely", LONG.replace("harbour", "station")], 0.7)) == [(0, 2)]


def test_pairs_below_the_threshold_are_not_given() -> None:
    assert list(text.near_duplicates([LONG, LONG.replace("harbour", "station")], 0.95)) == []


def test_planted_near_duplicates_are_found_and_no_others() -> None:
    rows = sentences(3000)
    planted = [f"{row} please" for row in rows[:300]]
    pairs = set(text.near_duplicates(rows + planted, 0.7))
    assert len(pairs & {(n, 3000 + n) for n in range(300)}) >= 297
    assert pairs <= {(n, 3000 + n) for n in range(300)}


def test_the_groups_are_those_of_comparing_every_pair() -> None:
    draw = random.Random(2)
    rows = [" ".join(LONG.split()[: draw.randint(8, 19)] + draw.choices(WORDS[:4], k=draw.randint(0, 3))) for _ in range(120)]
    sets = [text.shingles(row) for row in rows]
    every = [(one, two) for two in range(120) for one in range(two) if text.jaccard(sets[one], sets[two]) >= 0.8]
    assert joined(text.near_duplicates(rows, 0.8), 120) == joined(every, 120)


def test_a_thousand_variants_of_one_template_give_a_pair_each() -> None:
    assert len(list(text.near_duplicates([f"{LONG} {word}" for word in WORDS[:1000]], 0.7))) == 999


def test_the_pairs_do_not_depend_on_the_process() -> None:
    assert list(text.near_duplicates(sentences(200) * 2, 0.7)) == [(n, 200 + n) for n in range(200)]
    assert list(text.near_duplicates([], 0.7)) == []


def test_a_numbered_placeholder_is_the_word_of_its_kind() -> None:
    assert text.words("Call <NAME_2> on <PHONE_10>, <NAME>") == ["call", "<name>", "on", "<phone>", "<name>"]
    assert text.shingles("I am <NAME_1> again") == text.shingles("I am <NAME_2> again")


def test_a_template_is_what_is_left_of_a_text_without_its_values() -> None:
    given = [
        "I paid £12.50 on 12/03/2026, 09:15 to <NAME_1>",
        'I paid "a lot" on XX/XX/2026 to ****1234',
        "I paid [amount] on ___ to {{who}}",
    ]
    assert {text.template(found) for found in given} == {"i paid <value> on <value> to <value>"}
    assert text.template("it's Anna's card, isn't it") == text.normalise("it's Anna's card, isn't it")


def test_a_text_that_is_hardly_more_than_values_is_its_own_template() -> None:
    assert len({text.template(found) for found in ["12345", "54321", "card 1234", "card 4321", "<NAME_1>", "<EMAIL>"]}) == 6
