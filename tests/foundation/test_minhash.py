"""Near-duplicates in numpy are those of comparing every pair, and stay few comparisons where texts are many and alike."""

import random

import numpy as np
import pytest

from pipelines.foundation import minhash, neighbours, text

WORDS = [f"word{n}" for n in range(30)]


def sentences(count: int, seed: int) -> list[str]:
    """Short texts of few words, so that all similarities occur; some of one word, or of none."""
    draw = random.Random(seed)
    base = [" ".join(draw.choices(WORDS, k=draw.randint(0, 15))) for _ in range(count // 4)]
    ends = ["", "!", " word1"]
    return [" ".join(word for word in draw.choice(base).split() if draw.random() < 0.95) + draw.choice(ends) for _ in range(count)]


def similarity(one: str, two: str) -> float:
    return text.jaccard(text.shingles(one), text.shingles(two))


def test_similarities_are_those_of_the_sets_of_word_pairs() -> None:
    rows = sentences(300, 1)
    signed = minhash.sign(rows)
    one, two = np.array([(a, b) for a in range(300) for b in range(0, 300, 7)]).T
    assert minhash.jaccards(signed, one, signed, two).tolist() == [similarity(rows[a], rows[b]) for a, b in zip(one, two, strict=True)]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_a_search_finds_what_comparing_every_pair_finds(threshold: float) -> None:
    stored, asked = [row for row in sentences(400, 2) if text.words(row)], sentences(200, 3)
    found = neighbours.Index(minhash.sign(stored), threshold).find(minhash.sign(asked))
    near = {(a, b) for a in range(len(asked)) for b in range(len(stored)) if similarity(asked[a], stored[b]) >= threshold}
    pairs = set(zip(found.one.tolist(), found.two.tolist(), strict=True))
    assert pairs <= near
    assert len(near - pairs) <= 0.001 * len(near)


@pytest.mark.parametrize("threshold", [0.4, 0.6, 0.8, 0.95])
def test_groups_are_those_of_comparing_every_pair(threshold: float) -> None:
    rows = sentences(300, 4)
    every, found = neighbours.Groups(300), neighbours.Groups(300)
    near = [(a, b) for b in range(300) for a in range(b) if similarity(rows[a], rows[b]) >= threshold]
    for groups, pairs in ((every, near), (found, list(text.near_duplicates(rows, threshold)))):
        list(groups.join(*np.array(pairs).T))
    assert found.roots().tolist() == every.roots().tolist()


def test_blocks_joined_are_as_if_signed_at_once() -> None:
    rows = sentences(100, 5)
    joined = minhash.join([minhash.sign(rows[:60]), minhash.sign([]), minhash.sign(rows[60:])])
    assert all(np.array_equal(one, two) for one, two in zip(joined, minhash.sign(rows), strict=True))
    some = np.array([5, 3, 99])
    assert all(np.array_equal(one, two) for one, two in zip(joined.take(some), minhash.sign([rows[at] for at in some]), strict=True))


def test_equal_numbers_mean_equal_normal_forms() -> None:
    rows = ["Where is my card?", "where is MY card", "my card is where", "<NAME_2> called", "<NAME_7> Called!", "", "?"]
    normal = minhash.sign(rows).normal.tolist()
    assert [normal.index(found) for found in normal] == [0, 0, 2, 3, 3, 5, 5]


def test_a_text_without_words_is_near_to_nothing() -> None:
    assert len(neighbours.Index(minhash.sign(["", "?"]), 0.1).find(minhash.sign(["", "!", "a"])).one) == 0


def test_a_large_bucket_is_searched_nearby_only_and_what_is_there_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(6)
    frame = " ".join(f"frame{n}" for n in range(12))
    rows = [f"{frame} {' '.join(draw.choices(WORDS, k=6))}" for _ in range(4000)]  # alike, but not near: one bucket of thousands
    monkeypatch.setattr(neighbours, "COMPARED", 1)
    index = neighbours.Index(minhash.sign(rows), 0.8)
    signed = minhash.sign([row.replace("frame0 ", "") for row in rows[:500]])
    assert sum(len(index.candidates(signed, band)[0]) for band in range(index.bands)) <= 500 * index.bands * neighbours.NEARBY
    found = index.find(signed)
    assert len({one for one, two in zip(found.one.tolist(), found.two.tolist(), strict=True) if one == two}) >= 490
