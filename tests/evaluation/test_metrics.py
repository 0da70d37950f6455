"""Metrics against the libraries that define them."""

import random

import pytest
from sacrebleu.metrics import CHRF

from pipelines.evaluation import metrics
from pipelines.foundation.rendering import Answer

WORDS = ["Your", "card", "will", "arrive", "Monday,", "we're", "sorry!", "£3.50", "a", "naïve", "café", "12-34", "<EMAIL>", "a_b", "İ"]


def texts(seed: int) -> tuple[str, str]:
    rng = random.Random(seed)
    return tuple(" ".join(rng.choices(WORDS, k=rng.randint(0, 60))) for _ in range(2))


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    assert metrics.rouge_l("the card is on its way", "the card was on the way") == pytest.approx(4 / 6)
    assert metrics.rouge_l("the card", "") == 0


def test_chrf_equals_sacrebleu_over_a_hundred() -> None:
    reference, answer = texts(7)
    assert metrics.chrf(reference, answer) == CHRF().sentence_score(answer, [reference]).score / 100


@pytest.mark.parametrize("metric", ["accuracy", "rouge_l", "chrf"])
@pytest.mark.parametrize("answer", [Answer(None, None), Answer("", ""), Answer(None, "   "), Answer(None, "\x00")])
def test_an_answer_that_says_nothing_scores_zero(metric: str, answer: Answer) -> None:
    assert metrics.score(metric, Answer("red", "It is red."), answer) == 0


@pytest.mark.parametrize("metric", ["accuracy", "rouge_l", "chrf"])
def test_a_missing_answer_or_reference_is_null(metric: str) -> None:
    assert metrics.score(metric, Answer("red", "It is red."), None) is None
    assert metrics.score(metric, Answer(None, None), Answer("red", "It is red.")) is None


@pytest.mark.parametrize("metric", ["accuracy", "rouge_l", "chrf"])
def test_the_reference_itself_scores_one(metric: str) -> None:
    assert metrics.score(metric, Answer("red", "It is red."), Answer("red", "It is red.")) == pytest.approx(1)


def test_rows_are_one_an_item_and_metric_and_missing_ones_are_out_of_the_means() -> None:
    gold = Answer("red", "It is red.")
    items = [metrics.Item("1", "g", gold, gold, Answer("blue", "")), metrics.Item("2", "g", gold, None, gold)]
    rows = metrics.score_items("label_reply", items, "2026-11-20")
    assert [(row["example_id"], row["metric"]) for row in rows] == [(i, m) for m in ("accuracy", "rouge_l", "chrf") for i in "12"]
    assert metrics.summarise("label_reply", items, rows)["accuracy"] == {"champion": 1.0, "candidate": 0.0}
    assert metrics.summarise("label_reply", items, rows)["macro_f1"] == {"champion": 1.0, "candidate": 0.0}


def test_no_whole_pair_gives_no_figure() -> None:
    items = [metrics.Item("1", "g", Answer("red", None), None, None)]
    rows = metrics.score_items("label", items, "2026-11-20")
    assert metrics.summarise("label", items, rows) == {name: {"champion": None, "candidate": None} for name in ("accuracy", "macro_f1")}
