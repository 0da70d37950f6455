"""Ten thousand paid calls through the door, to a server where nearly every second try goes wrong: the book is the bill."""

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.foundation import llm, retries
from pipelines.foundation.messages import Request
from pipelines.foundation.spend import ZERO, Book
from pipelines.foundation.step import Night, open_night
from tests.billing import KINDS, MODEL, BillingServer, Terms

SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}, "required": ["verdict"], "additionalProperties": False}
WORDS = {"", "wrong_schema", "timeout", "connection", "rate_limited", "server_error", "malformed"}
CALLS, WARM = 10_000, 2_000
TERMS = Terms(latency=0.01, faults=0.05, slow=0.1)
PRICES = {MODEL: {"input": TERMS.input, "cached": TERMS.cached, "output": TERMS.output}}
ENDPOINT = {"in_flight": 128, "attempts": 14, "timeout_seconds": 0.5, "structured": True}


def questions(count: int) -> Iterator[Request]:
    return (Request("Answer in JSON.", f"What is wrong with order {number}?", 64, schema=SCHEMA) for number in range(count))


def megabytes() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.fixture
def opened(house: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Night]:
    """`opened(server, **endpoint)`: a night whose endpoint `paid` is the server."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)

    def write(server: BillingServer, **endpoint: object) -> Night:
        house(profile={"endpoints": {"paid": server.endpoint(**ENDPOINT, **endpoint).model_dump()}, "prices": PRICES})
        return open_night("small", "local", "2026-11-20", "evaluate")

    return write


def test_every_row_is_answered_or_says_why_and_the_book_is_the_bill_to_the_cent(opened: Callable[..., Night]) -> None:
    words: Counter[str] = Counter()
    places: set[int] = set()
    with BillingServer(TERMS) as server:
        night = opened(server, idempotent=True)
        for place, reply in llm.ask(night, "paid", questions(CALLS)):
            places.add(place)
            words[reply.word] += 1
            if len(places) == WARM:
                warm = megabytes()
        grown, bill = megabytes() - warm, server.bill()
    balance = Book(night.lake).balance
    booked = sum((line.dollars + line.unsure for line in balance.lines.values()), ZERO)
    unknown = sum((Decimal(bill["by_key"].get(key, "0")) for key in balance.open), ZERO)

    assert places == set(range(CALLS)) and set(words) <= WORDS
    assert words[""] + words["wrong_schema"] >= CALLS - 10 and 300 < words["wrong_schema"] < 700
    assert set(bill["faults"]) == {"", *KINDS} and bill["calls"] > 1.5 * CALLS
    assert booked + unknown == Decimal(bill["dollars"]) > 0, "to the last digit"
    assert len(balance.open) <= 10 and bill["most_by_key"] == 1
    assert grown < 30, "megabytes, from the two thousandth reply to the last"


def test_where_every_try_may_be_billed_the_book_is_never_below_the_bill(opened: Callable[..., Night]) -> None:
    with BillingServer(TERMS._replace(honour=False)) as server:
        night = opened(server)
        words = Counter(reply.word for _, reply in llm.ask(night, "paid", questions(1_000)))
        bill = server.bill()
    lines = Book(night.lake).balance.lines.values()
    known, unsure = sum(line.dollars for line in lines), sum(line.unsure for line in lines)
    assert words.total() == 1_000 and words[""] > 900 and bill["most_by_key"] > 1
    assert known < Decimal(bill["dollars"]) <= known + unsure
