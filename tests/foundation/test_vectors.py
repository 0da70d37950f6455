"""Vectors of texts from the embedded model's token table: of length 1, nearer for what means the same, each by itself."""

import numpy as np
import pytest

from pipelines.foundation import vectors

pytest.importorskip("gguf", reason="the embedded model is not installed")
TEXTS = ["where is my card", "when will my new card arrive", "the weather is lovely today", "", "WHERE  is my card", "Где моя карта?"]


@pytest.fixture(scope="module")
def found() -> np.ndarray:
    return vectors.embed(TEXTS)


def test_a_vector_has_length_one_and_a_text_without_words_is_zero(found: np.ndarray) -> None:
    assert (found.shape, found.dtype) == ((6, 576), np.float32)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1, 0, 1, 1], abs=1e-5)


def test_what_means_the_same_is_nearer(found: np.ndarray) -> None:
    assert found[0] @ found[1] > found[0] @ found[2]
    assert found[0] == pytest.approx(found[4], abs=1e-6)


def test_a_vector_depends_on_no_other_text(found: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 5)
    embedder = vectors.Embedder()
    assert embedder.embed(TEXTS[::-1])[::-1] == pytest.approx(found, abs=1e-6)
    assert embedder.embed([]).shape == (0, 576)


def test_pairs_that_are_alike_are_found_in_blocks(found: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 2)
    pairs = [(one, two) for ones, twos in vectors.alike(found, found, 0.99) for one, two in zip(ones.tolist(), twos.tolist(), strict=True)]
    assert sorted(pairs) == [(0, 0), (0, 4), (1, 1), (2, 2), (4, 0), (4, 4), (5, 5)]
