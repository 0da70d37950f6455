"""Languages of many texts at once are those that py3langid tells one at a time."""

import random

import pytest

from pipelines.data.contract import languages

TEXTS = [
    *(
        "",
        " ",
        "x",
        "???",
        "Where is my new card, please?",
        "WHERE IS MY NEW CARD",
        "Wo ist meine neue Karte geblieben",
        "où est ma carte bleue ?",
    ),
    *(
        "¿Dónde está mi tarjeta?",
        "我的新卡在哪里",
        "где моя новая карта",
        "Gdzie jest moja karta",
        "e\u0301te\u0301 cafe\u0301",
        "\U0001f600 \U0001f600",
        "Dov'è la mia carta nuova?",
    ),
]


def test_many_at_once_are_told_as_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    monkeypatch.setattr(languages, "AT_ONCE", 50)
    luck, single = random.Random(0), LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    words = " ".join(TEXTS).split()
    texts = TEXTS + [" ".join(luck.choices(words, k=luck.randrange(1, 40))) for _ in range(150)]
    guess = languages.Identifier().classify(texts)
    for text, code, probability in zip(texts, guess.codes, guess.probabilities, strict=True):
        expected = single.classify(text)
        assert probability == pytest.approx(expected[1], abs=1e-3), text
        assert code == expected[0] or probability < 0.5, text


def test_no_text_has_no_language() -> None:
    assert len(languages.Identifier().classify([]).codes) == 0
