"""Metrics against the libraries that define them."""

import random

import pytest
from sacrebleu.metrics import CHRF

from pipelines.evaluation import metrics
from pipelines.evaluation.metrics import Written
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
@pytest.mark.parametrize("answer", [Written(None, None), Written("", ""), Written(None, "   "), Written(None, "\x00")])
def test_an_answer_that_says_nothing_scores_zero(metric: str, answer: Written) -> None:
    assert metrics.score(metric, Answer("red", "It is red."), answer) == 0


@pytest.mark.parametrize("metric", ["accuracy", "rouge_l", "chrf"])
def test_a_missing_answer_or_reference_is_null(metric: str) -> None:
    assert metrics.score(metric, Answer("red", "It is red."), None) is None
    assert metrics.score(metric, Answer(None, None), Written("red", "It is red.")) is None


@pytest.mark.parametrize("metric", ["accuracy", "rouge_l", "chrf"])
def test_the_reference_itself_scores_one(metric: str) -> None:
    assert metrics.score(metric, Answer("red", "It is red."), Written("red", "It is red.")) == pytest.approx(1)


def test_rows_are_one_an_item_and_metric_and_missing_ones_are_out_of_the_means() -> None:
    gold, same = Answer("red", "It is red."), Written("red", "It is red.", 5)
    items = [metrics.Item("1", "g", gold, same, Written("blue", "", 2)), metrics.Item("2", "g", gold, None, same)]
    rows = metrics.score_items("label_reply", items, "2026-11-20", "new")
    assert [(row["example_id"], row["metric"]) for row in rows] == [(i, m) for m in ("accuracy", "rouge_l", "chrf", "tokens") for i in "12"]
    assert {row["model"] for row in rows} == {"new"}
    assert metrics.summarise("label_reply", items, rows)["accuracy"] == {"champion": 1.0, "candidate": 0.0}
    assert metrics.summarise("label_reply", items, rows)["macro_f1"] == {"champion": 1.0, "candidate": 0.0}
    assert metrics.summarise("label_reply", items, rows)["tokens"] == {"champion": -5.0, "candidate": -2.0}  # fewer is better


def test_no_whole_pair_gives_no_figure() -> None:
    items = [metrics.Item("1", "g", Answer("red", None), None, None)]
    rows = metrics.score_items("label", items, "2026-11-20", "new")
    nothing = {"champion": None, "candidate": None}
    assert metrics.summarise("label", items, rows) == dict.fromkeys(("accuracy", "tokens", "macro_f1"), nothing)


def test_the_cost_of_a_thousand_requests_is_a_metric_where_the_model_has_a_price() -> None:
    gold = Answer("red", "It is so.")
    cheap, dear = (metrics.Written("red", "It is so.", 5, dollars) for dollars in (0.02, 0.05))
    items = [metrics.Item("1", "g", gold, dear, cheap)]
    rows = metrics.score_items("label", items, "2026-11-20", "m")
    assert [(row["metric"], row["champion"], row["candidate"]) for row in rows][-1] == ("cost", -0.05, -0.02)
    assert metrics.summarise("label", items, rows)["cost"] == {"champion": -0.05, "candidate": -0.02}
    free = [metrics.Item("1", "g", gold, dear._replace(dollars=None), cheap._replace(dollars=None))]
    assert "cost" not in {row["metric"] for row in metrics.score_items("label", free, "2026-11-20", "m")}
