"""Money is reserved before it is spent, counted once a call, and never more than a cap allows, whoever asks at the same time."""

import multiprocessing
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.foundation import prices
from pipelines.foundation.lake import Lake
from pipelines.foundation.messages import Request, Usage
from pipelines.foundation.purse import Purse, Wanted
from pipelines.foundation.spend import SNAPSHOT, Account, Book, Paid
from pipelines.sections import Budget, Prices

CENT = Decimal("0.01")


def purse(root: Path, run: str = "r1", of: str = "2026-11-20", step: str = "evaluate", **caps: object) -> Purse:
    budget = Budget(**{cap.removesuffix("_cap"): dollars for cap, dollars in caps.items()})
    return Purse(Book(Lake(str(root))), budget, Account(of, step, "large", run))


def want(*keys: str, bound: Decimal = CENT) -> list[Wanted]:
    return [Wanted(key, bound) for key in keys]


def test_a_cap_lets_the_first_calls_through_and_no_more(tmp_path: Path) -> None:
    own = purse(tmp_path, month="0.025")
    assert own.reserve(want("a", "b", "c")) == 2
    assert own.reserve(want("c")) == 0
    assert "budget.month of 0.025 dollars" in own.refuse()


def test_what_came_cheaper_than_its_bound_leaves_room_again(tmp_path: Path) -> None:
    own = purse(tmp_path, total="0.02")
    assert own.reserve(want("a", "b")) == 2
    own.settle([Paid("a", Decimal("0.001"), Usage(10, 5))], released=["b"])
    assert own.reserve(want("c")) == 1
    assert own.spent == Decimal("0.001")


@pytest.mark.parametrize(
    ("cap", "other", "left"),
    [
        ("night", {"of": "2026-11-19"}, 1),
        ("night", {"step": "synthesize"}, 0),
        ("month", {"of": "2026-11-19"}, 0),
        ("total", {"of": "2025-01-01"}, 0),
    ],
)
def test_each_cap_counts_what_it_is_named_after(tmp_path: Path, cap: str, other: dict, left: int) -> None:
    assert purse(tmp_path, run="r2", **other, **{cap: "0.01"}).reserve(want("a")) == 1
    assert purse(tmp_path, **{cap: "0.01"}).reserve(want("b")) == left


def test_a_run_has_a_cap_of_its_own(tmp_path: Path) -> None:
    assert [purse(tmp_path, run=run, run_cap="0.01").reserve(want(run + "a", run + "b")) for run in ("r1", "r2")] == [1, 1]


def test_a_call_reserved_twice_by_a_run_that_was_killed_is_counted_once(tmp_path: Path) -> None:
    assert purse(tmp_path, run="killed", total="0.01").reserve(want("a")) == 1
    again = purse(tmp_path, run="again", total="0.01")
    assert again.reserve(want("a")) == 1
    again.settle([Paid("a", CENT, Usage(1, 1))])
    again.settle([Paid("a", CENT, Usage(1, 1))])
    [line] = Book(Lake(str(tmp_path))).balance.lines.values()
    assert (line.calls, line.dollars) == (1, CENT)


def test_money_that_a_killed_run_left_reserved_stays_out_of_reach(tmp_path: Path) -> None:
    assert purse(tmp_path, run="killed", total="0.01").reserve(want("a")) == 1
    other = purse(tmp_path, run="again", total="0.01")
    assert other.left_open({"a"}) == ["a"]
    assert other.reserve(want("b")) == 0


def test_alerts_come_once_at_half_at_four_fifths_and_at_the_cap(tmp_path: Path) -> None:
    own = purse(tmp_path, month="0.10")
    for number in range(11):
        if own.reserve(want(f"k{number}")):
            own.settle([Paid(f"k{number}", CENT, Usage(1, 1))])
    own.refuse()
    assert [alert.split(" ")[0] for alert in own.alerts] == ["50%", "80%", "100%"]
    assert purse(tmp_path, run="r2", month="0.10").reserve(want("x")) == 0
    assert len(Book(Lake(str(tmp_path))).balance.alerted) == 3


def _race(root: str, number: int, barrier: object, won: object) -> None:
    own = Purse(Book(Lake(root)), Budget(night=CENT), Account("2026-11-20", "evaluate", "large", f"r{number}"))
    barrier.wait()
    won.put(own.reserve([Wanted(f"call {number}", CENT)]))


def test_of_several_tasks_that_race_for_the_last_cent_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for turn in range(5):
        barrier, won = context.Barrier(4), context.Queue()
        racers = [context.Process(target=_race, args=(str(tmp_path / str(turn)), number, barrier, won)) for number in range(4)]
        for racer in racers:
            racer.start()
        assert sorted(won.get(timeout=30) for _ in racers) == [0, 0, 0, 1]
        for racer in racers:
            racer.join()


def _many(root: str, number: int) -> None:
    own = Purse(Book(Lake(root)), Budget(total=1000), Account("2026-11-20", "evaluate", "large", f"r{number}"))
    for call in range(SNAPSHOT):
        own.reserve([Wanted(f"{number}-{call}", CENT)])
        own.settle([Paid(f"{number}-{call}", CENT / 2, Usage(3, 2, 1))])


def test_nothing_is_lost_or_doubled_across_snapshots_and_writers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_many, args=(str(tmp_path), number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    book = Book(Lake(str(tmp_path)))
    [line] = book.balance.lines.values()
    calls = 3 * SNAPSHOT
    assert line == (calls, 3 * calls, calls, 2 * calls, calls * CENT / 2, 0)
    assert not book.balance.open


def test_a_price_is_exact_and_its_bound_is_never_below_it() -> None:
    dear = Prices(input="0.15", cached="0.0375", output="0.6")
    assert prices.cost(dear, Usage(1000, 100, 400)) == Decimal("0.000165")
    assert prices.cost(dear, Usage(1000, 100, 400), batch=True) == Decimal("0.0000825")
    request = Request("system", "ünï" * 100, 100)
    assert prices.bound(dear, request) >= prices.cost(dear, Usage(len(b"system") + 500, 100))


def test_training_is_paid_by_the_token_and_by_the_second() -> None:
    assert prices.training(Prices(training=2, second="0.001"), 500_000, 60.0) == Decimal("1.06")
