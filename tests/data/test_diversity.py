"""How varied synthetic rows are: figures that anyone can work out by hand."""

import pytest

from pipelines.data.synthesis import diversity, written
from pipelines.data.synthesis.diversity import balance, compare, measure, self_bleu

WORDS = ["card", "lost", "app", "slow", "transfer", "late", "money", "gone", "pin", "wrong", "bank", "shut", "fee", "high"]


def rows(texts: list[str], label: str = "red") -> list[dict]:
    return [{"prompt": text, "label": label, "method": "typos", "depth": 1, "parent_id": f"e{place}"} for place, text in enumerate(texts)]


def test_a_parrot_is_told_from_many_voices() -> None:
    parrot = ["my card is lost"] * 10
    voices = [f"{WORDS[n]} {WORDS[n + 1]} why {WORDS[n + 2]} {WORDS[n + 3]} today" for n in range(10)]
    one, many = measure(parrot, voices)
    assert (one.distinct_1, one.distinct_2, one.self_bleu) == (0.1, 0.1, 100.0) and one.spread == pytest.approx(0, abs=1e-4)
    assert many.distinct_1 > one.distinct_1 and many.self_bleu < 60 and many.spread > 0.05


def test_few_rows_have_no_figures() -> None:
    assert measure(["a b"] * (diversity.FEWEST - 1))[0] == (diversity.FEWEST - 1, None, None, None, None)


def test_self_bleu_of_texts_without_a_word_in_common_is_low() -> None:
    assert self_bleu(["red card lost", "slow phone app", "late money transfer"]) < 20


def test_an_even_spread_of_labels_is_one() -> None:
    assert balance(["a", "b"] * 5) == 1.0 and balance(["a"]) is None and balance(["a"] * 9 + ["b"]) == pytest.approx(0.469, abs=1e-3)


def test_the_balance_is_told_without_and_with_tonights_rows() -> None:
    found = compare(rows(["x"] * 9) + rows(["y"], "blue"), [], rows(["z"] * 8, "blue"))
    assert found["tonight"]["self_bleu"] is None
    assert found["balance"]["before"] < 0.5 and found["balance"]["after"] == 1.0
    assert found["real"]["rows"] == 8 == found["synthetic"]["rows"]


def test_the_page_escapes_every_text_and_quotes_at_most_twenty_rows() -> None:
    hostile = rows(["<script>alert(1)</script>\"'"] * 50, "</td><b>")
    result = {"rows": 50, "rejected": {"<i>": 1}, "rejected_by_method": {"typos": {"<i>": 1}}, "methods": {"typos": 50}}
    figures = {name: diversity.Variety(0, None, None, None, None)._asdict() for name in ("tonight", "synthetic", "real")}
    page = written.render("a<b", "2026-11-20", result, {"typos": 51}, figures | {"balance": {"before": None, "after": 1.0}}, hostile)
    assert "<script" not in page and "<i>" not in page and "<b>" not in page and "a<b" not in page
    assert page.count("alert(1)") == 20 and "default-src 'none'" in page
