"""Training is paid a lease at a time, stops at a cap, and what a killed try had leased counts as spent."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.errors import NightStopped
from pipelines.foundation.spend import Book
from pipelines.foundation.step import Night, open_night
from pipelines.tuning.meter import TOKENS, Meter

House = Callable[..., Path]
MILLION = 1_000_000


def opened(house: House, budget: dict, **prices: float) -> Night:
    house(profile={"prices": {"SmolLM2-135M-Instruct": prices}}, budget=budget)
    return open_night("small", "local", "2026-11-20", "finetune")._replace(key="k")


def test_tokens_are_paid_for_as_they_are_trained_on(house: House) -> None:
    night = opened(house, {}, training=10)
    with Meter(night) as meter:
        for _ in range(10):
            meter.count(TOKENS // 4)
    [line] = Book(night.lake).balance.lines.values()
    assert line.dollars == night.tab.spent == Decimal(10 * (TOKENS // 4) * 10) / MILLION
    assert line.prompt == 10 * (TOKENS // 4) and not Book(night.lake).balance.open


def test_at_a_cap_the_training_stops_and_says_how_to_go_on(house: House) -> None:
    night = opened(house, {"night": "1.2"}, training=10)
    seen = 0
    with pytest.raises(NightStopped, match=r"budget.night of 1.2 dollars would be passed.*raise the cap"), Meter(night) as meter:
        for _ in range(100):
            meter.count(TOKENS // 2)
            seen += 1
    assert 1 < seen < 5
    assert Decimal("0.5") < night.tab.spent <= Decimal("1.2") and not Book(night.lake).balance.open


def test_a_second_of_the_machine_is_paid_for_however_the_training_ends(house: House) -> None:
    night = opened(house, {}, second=100)
    with pytest.raises(KeyboardInterrupt), Meter(night) as meter:
        meter.count(1)
        raise KeyboardInterrupt
    assert 0 < night.tab.spent < 100


def test_the_lease_of_a_killed_try_stays_counted_beside_that_of_the_next(house: House) -> None:
    night = opened(house, {"night": "1"}, training=10)
    Meter(night).__enter__()  # killed: nobody comes to settle
    again = opened(house, {"night": "1"}, training=10)
    with Meter(again):
        pass
    assert len(Book(night.lake).balance.open) == 1
    third = opened(house, {"night": "0.9"}, training=10)
    with pytest.raises(NightStopped), Meter(third):
        pass


def test_without_a_price_nothing_is_written(house: House) -> None:
    night = opened(house, {"night": "0"}, input=1)
    with Meter(night) as meter:
        meter.count(10 * TOKENS)
    assert not Path(night.lake.root, "spend").exists()
