"""Figures of a judge against sklearn and scipy, against hand counts, and where there is nothing to tell."""

import itertools
import json
import time

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, recall_score

from pipelines.evaluation.agreement import Verdict, correction, decide, measure
from pipelines.sections import Admission, Judge

PAIRWISE, POINTWISE = Judge(), Judge(kind="pointwise")
BOUNDED = ("accuracy", "kappa", "tpr", "tnr", "order_consistency", "first_position_share", "unscored_share")


def pairs(said: list[tuple[str | None, str | None, str]], group: int = 1) -> list[Verdict]:
    """Verdicts on items of both orders: what was said in order 12, in order 21, and by people."""
    rows = []
    for place, (one, two, gold) in enumerate(said):
        for order, verdict in (("12", one), ("21", two)):
            rows.append(Verdict(f"i{place}", f"g{place // group}", order, verdict, gold, float(place % 7 - 3)))
    return rows


def sampled(n: int, right: float = 0.85, seed: int = 0) -> list[Verdict]:
    rng = np.random.default_rng(seed)
    other = {"1": "2", "2": "1"}
    golds = rng.choice(["1", "2"], n)
    return pairs([(*(gold if rng.random() < right else rng.choice(["tie", other[gold]]) for _ in "12"), gold) for gold in map(str, golds)])


def graded(n: int, seed: int = 0, spread: int = 1) -> list[Verdict]:
    rng = np.random.default_rng(seed)
    golds = rng.integers(1, 6, n)
    said = np.clip(golds + rng.integers(-spread, spread + 1, n), 1, 5)
    return [Verdict(f"i{i}", f"g{i}", "", str(said[i]), str(golds[i]), float(rng.integers(10, 500))) for i in range(n)]


def values(figures: dict) -> dict:
    return {name: figure["value"] for name, figure in figures.items() if isinstance(figure, dict)}


def test_every_figure_by_hand() -> None:
    """Four items: right twice, wrong twice, first shown twice, unscored and right."""
    found = measure(pairs([("1", "1", "1"), ("1", "1", "2"), ("1", "2", "2"), (None, "2", "2")]), PAIRWISE)
    assert (found["n"], found["judgements"], found["unscored"]) == (4, 8, 1)
    expected = {
        "accuracy": 4 / 8,
        "order_consistency": 2 / 4,
        "first_position_share": 5 / 8,
        "unscored_share": 1 / 8,
        "tpr": 1,
        "tnr": 2 / 5,
    }
    assert {name: values(found)[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_two_unscored_are_the_same_verdict_and_neither_right_nor_a_tie() -> None:
    found = measure(pairs([(None, None, "tie"), ("tie", "tie", "tie"), ("tie", None, "1")]), PAIRWISE)
    assert values(found)["order_consistency"] == pytest.approx(2 / 3, abs=1e-6)
    assert values(found)["accuracy"] == pytest.approx(2 / 6, abs=1e-6)


def test_pairwise_figures_are_those_of_sklearn_and_scipy() -> None:
    rows = sampled(200)
    found, said, gold = values(measure(rows, PAIRWISE)), [row.verdict for row in rows], [row.gold for row in rows]
    assert found["kappa"] == pytest.approx(cohen_kappa_score(said, gold), abs=1e-6)
    recalls = recall_score(gold, said, labels=["1", "2"], average=None)
    assert (found["tpr"], found["tnr"]) == pytest.approx(recalls, abs=1e-6)
    sign = {"1": 1, "2": -1, "tie": 0}
    for name, column in (("length_correlation", said), ("label_length_correlation", gold)):
        assert found[name] == pytest.approx(stats.spearmanr([sign[v] for v in column], [row.length for row in rows])[0], abs=1e-6)


def test_graded_figures_are_those_of_sklearn() -> None:
    rows = graded(300, spread=2)
    found, said, gold = values(measure(rows, POINTWISE)), [int(row.verdict) for row in rows], [int(row.gold) for row in rows]
    assert found["kappa"] == pytest.approx(cohen_kappa_score(said, gold, weights="quadratic"), abs=1e-6)
    assert found["accuracy"] == pytest.approx(np.mean(np.equal(said, gold)), abs=1e-6)
    assert found["tpr"] == pytest.approx(recall_score(np.array(gold) >= 4, np.array(said) >= 4), abs=1e-6)
    assert found["tnr"] == pytest.approx(recall_score(np.array(gold) < 4, np.array(said) < 4), abs=1e-6)
    assert (found["order_consistency"], found["first_position_share"]) == (None, None)


def test_kappas_bounds_are_near_a_bootstrap_of_groups() -> None:
    rows = sampled(150)
    found = measure(rows, PAIRWISE)["kappa"]
    rng, by_item = np.random.default_rng(0), np.array([(row.verdict, row.gold) for row in rows]).reshape(150, 2, 2)
    drawn = [cohen_kappa_score(*by_item[rng.integers(0, 150, 150)].reshape(-1, 2).T) for _ in range(300)]
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])), abs=0.025)


def test_more_alike_items_in_a_group_widen_every_bound() -> None:
    said = [(v, v, "12"[i // 4 % 2]) for i in range(120) for v in ("12"[(i // 4 % 2) ^ (i % 28 < 4)],)]
    alone, alike = measure(pairs(said), PAIRWISE), measure(pairs(said, group=4), PAIRWISE)
    for name in ("accuracy", "kappa", "tpr", "tnr"):
        assert alike[name]["value"] == alone[name]["value"]
        assert alike[name]["low"] < alone[name]["low"] - 0.02


def test_a_perfect_judge_is_not_certain() -> None:
    found = measure(pairs([(gold, gold, gold) for gold in "12" * 25]), PAIRWISE)
    for name in ("accuracy", "kappa", "tpr", "tnr", "order_consistency"):
        assert found[name]["value"] == found[name]["high"] == 1
        assert 0.85 < found[name]["low"] < 0.96
    assert found["first_position_share"]["value"] == 0.5


GOLDS = ("1", "2", "tie")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        pairs([(None, None, "1")] * 5 + [(None, None, "2")]),
        pairs([("1", "1", "1")] * 30),
        pairs([("1", "2", "1")] * 30),
        pairs([("1", "1", gold) for gold in "12" * 20]),
        pairs([("tie", "tie", "tie")] * 5),
        pairs([("1", "2", "1")]),
        pairs([("1", "1", "1"), ("2", "2", "2")]),
        pairs([("1", None, "1"), ("2", "2", "2"), ("1", "tie", "tie")], group=9),
        [row for row in sampled(40) if row.order == "12"],
        [row._replace(length=None, order="") for row in sampled(40)],
        [row._replace(length=5.0) for row in sampled(10)],
        *(pairs([combination]) for combination in itertools.product((*GOLDS, None), (*GOLDS, None), GOLDS)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_cannot_be_told_is_none_or_wide_and_never_a_crash(rows: list[Verdict]) -> None:
    found = measure(rows, PAIRWISE)
    json.dumps(found, allow_nan=False)
    shrunk = correction([row for row in rows if row.order != "21"], PAIRWISE)
    for figure in (*(found[name] for name in BOUNDED), shrunk):
        if figure["value"] is not None:
            assert -1 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
            assert figure["high"] - figure["low"] > 0.02
    if len({row.item for row in rows}) < 10:
        assert not decide(found, None, Admission(min_items=1)).admitted


@pytest.mark.parametrize(
    "said",
    [[], [("5", "5")] * 9, [(None, "3")] * 4, [("1", "5")], [("3", "2"), ("3", "4")], [("2", "1"), (None, "5"), ("5", "5"), ("-3", "99")]],
)
@pytest.mark.filterwarnings("error")
def test_grades_that_tell_little_do_not_crash(said: list[tuple[str | None, str]]) -> None:
    rows = [Verdict(f"i{place}", f"g{place}", "", verdict, gold, float(place)) for place, (verdict, gold) in enumerate(said)]
    json.dumps([measure(rows, POINTWISE), correction(rows, POINTWISE)], allow_nan=False)


def test_a_hundred_thousand_judgements_take_under_two_seconds() -> None:
    rows = sampled(50_000)
    started = time.perf_counter()
    measure(rows, PAIRWISE)
    assert time.perf_counter() - started < 2


def test_the_pairwise_factor_is_the_mean_of_verdict_times_label() -> None:
    said = [("1", "1")] * 30 + [("2", "2")] * 30 + [("tie", "1")] * 10 + [("2", "1")] * 5 + [("1", "2")] * 5 + [(None, "1"), ("1", "tie")]
    rows = [Verdict(f"i{place}", f"g{place}", "", verdict, gold, None) for place, (verdict, gold) in enumerate(said)]
    found = correction(rows, PAIRWISE)
    assert found["value"] == (60 - 10) / 80
    assert 0.4 < found["low"] < found["value"] < found["high"] < 0.8


def test_the_pointwise_factor_is_youdens_and_knows_groups() -> None:
    said = [("5", "5")] * 45 + [("2", "5")] * 5 + [("1", "2")] * 40 + [("4", "2")] * 10 + [(None, "5")]
    rows = [Verdict(f"i{place}", f"g{place}", "", verdict, gold, None) for place, (verdict, gold) in enumerate(said)]
    found = correction(rows, POINTWISE)
    assert found["value"] == pytest.approx(0.9 + 0.8 - 1)
    assert 0.5 < found["low"] < 0.7 < found["high"] < 0.85
    alike = correction([row._replace(group=f"g{place % 50 // 5}") for place, row in enumerate(rows)], POINTWISE)
    assert alike["value"] == found["value"]
    assert alike["low"] < found["low"]


def test_a_good_judge_is_admitted_and_the_sentence_says_so() -> None:
    found = measure(sampled(200, right=0.95), PAIRWISE)
    probes = {"asked": 24, "at_floor": 24, "kinds": {"empty": 1.0}}
    assert decide(found, probes, Admission()) == (True, "all rules hold on 200 labelled items")
    assert decide(found, None, Admission()).why == "all rules hold on 200 labelled items (not checked: probes)"


@pytest.mark.parametrize(
    ("rules", "part"),
    [
        ({"min_items": 201}, "200 labelled items are fewer than 201"),
        ({"min_accuracy": 0.99}, "has the lower bound"),
        ({"min_kappa": 0.99}, "kappa 0."),
        ({"min_rate": 0.99}, "tnr 0."),
        ({"min_order_consistency": 0.99}, "order consistency 0.89 is below 0.99"),
        ({"max_position_bias": 0.0}, "from 1/2, above 0"),
        ({"max_length_correlation": 0.0}, "from the labels'"),
    ],
)
def test_each_rule_that_fails_is_named_with_its_figure_and_bar(rules: dict, part: str) -> None:
    decided = decide(measure(sampled(200, right=0.95), PAIRWISE), None, Admission(**rules))
    assert not decided.admitted
    assert part in decided.why


def test_unscored_and_probes_have_their_own_limits() -> None:
    rows = [row._replace(verdict=None) if place < 30 else row for place, row in enumerate(sampled(200, right=1.0))]
    decided = decide(measure(rows, PAIRWISE), {"asked": 24, "at_floor": 22, "kinds": {"empty": 1.0, "canned": 0.5}}, Admission())
    assert decided.why == "the unscored share 0.075 is above 0.05; 2 of 24 probes were not given the lowest verdict (canned)"


def test_one_order_alone_admits_no_pairwise_judge() -> None:
    rows = [row for row in sampled(200, right=0.95) if row.order == "12"]
    assert "no item was judged in both orders" in decide(measure(rows, PAIRWISE), None, Admission()).why


def test_a_bias_at_its_limit_is_within_it() -> None:
    rows = [("1", "1", "1")] * 35 + [("2", "2", "2")] * 35 + [("1", "2", "12"[place % 2]) for place in range(30)]
    found = measure(pairs(rows), PAIRWISE)
    assert found["first_position_share"]["value"] == 0.65
    assert "shown first" not in decide(found, None, Admission(max_position_bias=0.15)).why
