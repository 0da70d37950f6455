"""The limits of an endpoint: what the profile grants is spread, what the server tells is kept, a 429 stops everybody."""

import itertools
import threading
import time

import pytest

from pipelines.foundation import server
from pipelines.foundation.limits import Limits, duration, estimate
from pipelines.foundation.messages import Call, Reply, Request
from pipelines.sections import Endpoint
from tests.billing import BillingServer, Terms
from tests.servers import ChatServer, Fault


def calls(count: int) -> list[Call]:
    return [Call(f"key-{number}", Request("Be brief.", f"question {number}", 64)) for number in range(count)]


def told(remaining: int, reset: str, limit: int = 10) -> dict[str, str]:
    return {f"x-ratelimit-{name}-requests": str(value) for name, value in {"remaining": remaining, "reset": reset, "limit": limit}.items()}


def learned(headers: dict[str, str], ago: float = 0, limits: Limits | None = None) -> Limits:
    """Limits after one answer with these headers, to a request that was sent so many seconds ago."""
    limits = limits or Limits(Endpoint(kind="openai"), threading.Event())
    with limits.admitted(1, None):
        limits.learn(headers, 1, sent=time.monotonic() - ago)
    return limits


def enters(limits: Limits, deadline: float | None = None, tokens: int = 1) -> str:
    with limits.admitted(tokens, deadline) as why:
        return why


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("7.66ms", 0.00766), ("2m59.56s", 179.56), ("1h2m", 3720), ("1d", 86_400), ("12.5", 12.5)],
)
def test_the_durations_that_servers_write_are_read(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [None, "", "soon", "-1s", "1s ago", "1" * 50, "2026-11-20T00:00:00Z"])
def test_other_durations_say_nothing(text: str | None) -> None:
    assert duration(text) is None


def test_a_request_is_estimated_at_a_quarter_of_its_bytes_and_all_that_it_may_write() -> None:
    assert estimate(b"x" * 400, 64) == 164


@pytest.mark.parametrize("limits", [{"requests_a_minute": 1_200}, {"tokens_a_minute": 1_200 * 114}])
def test_what_the_profile_grants_is_spread_over_the_minute(limits: dict[str, int]) -> None:
    with ChatServer() as chat:
        started = time.monotonic()
        found = list(server.stream(chat.endpoint(**limits), calls(21)))
    assert 0.8 < time.monotonic() - started < 2.5
    assert [answered.reply.error for answered in found] == [None] * 21


@pytest.mark.parametrize(("limit", "smooth"), [*itertools.product([{"requests": 40}, {"tokens": 40 * 120}], [True, False])])
def test_a_limit_that_the_server_tells_is_kept_whether_it_is_granted_bit_by_bit_or_at_once(limit: dict[str, int], smooth: bool) -> None:
    with BillingServer(Terms(latency=0.01, window=0.3, smooth=smooth, **limit)) as paid:
        started = time.monotonic()
        found = list(server.stream(paid.endpoint(timeout_seconds=5), calls(120)))
        answers = paid.bill()["answers"]
    assert [answered.reply.error for answered in found] == [None] * 120
    assert answers.get("429", 0) <= 8, "without the headers every fourth answer is a 429"
    assert time.monotonic() - started < 4, "the limit takes 0.6 s at least"


def test_what_is_left_is_waited_for_and_no_longer() -> None:
    limits = learned(told(0, "300ms"))
    started = time.monotonic()
    assert enters(limits) == ""
    assert 0.3 <= time.monotonic() - started < 1


def test_an_answer_that_was_overtaken_says_nothing_new() -> None:
    limits = learned(told(0, "1h"), ago=1, limits=learned(told(5, "1h")))
    assert enters(limits) == ""


def test_a_limit_that_is_granted_too_late_is_told_and_not_waited_for() -> None:
    limits = learned(told(0, "24h"))
    assert "limit of requests" in enters(limits)
    assert "limit of requests" in enters(limits, deadline=time.monotonic() + 0.1)


def test_a_request_above_the_whole_limit_is_sent_alone_and_the_server_decides() -> None:
    headers = {"x-ratelimit-limit-tokens": "100", "x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "0s"}
    assert enters(learned(headers), tokens=1_000) == ""


@pytest.mark.parametrize("headers", [told(-1, "1s"), told(0, "soon"), {"x-ratelimit-remaining-requests": "none"}])
def test_headers_that_say_nothing_stop_nobody(headers: dict[str, str]) -> None:
    limits = learned(headers)
    started = time.monotonic()
    assert enters(limits) == "" and time.monotonic() - started < 0.1


def test_after_a_429_nobody_sends_until_the_pause_is_over() -> None:
    with ChatServer(lambda call: Fault("status", status=429, retry_after="0.6") if call.number == 0 else None) as chat:
        answered = server.stream(chat.endpoint(in_flight=2), calls(20))
        time.sleep(0.01)
        started = time.monotonic()
        next(answered)
        before, rest = len(chat.calls), [one.reply for one in answered]
    assert before <= 4 and len(rest) == 19
    assert time.monotonic() - started > 0.55


def test_each_wave_of_429_that_asks_for_no_pause_makes_it_longer_until_an_answer_comes() -> None:
    limits = Limits(Endpoint(kind="openai"), threading.Event())

    def paused() -> float:
        limits.pause(None)
        started = time.monotonic()
        enters(limits)
        return time.monotonic() - started

    waits = [paused() for _ in range(5)]
    limits.answered()
    assert waits[4] > 0.15 > waits[0] and paused() < 0.15


def test_replies_that_could_not_be_sent_in_time_say_why() -> None:
    with BillingServer(Terms(latency=0, window=3_600, smooth=False, requests=3)) as paid:
        found = [one.reply for one in server.stream(paid.endpoint(in_flight=1, attempts=1), calls(6))]
    assert found[:3] == [reply for reply in found if reply.text]
    assert {reply.word for reply in found[3:]} <= {"rate_limited", "circuit_open"}
    assert isinstance(found[3], Reply) and "not sent, the limit of requests is used up" in str(found[3].error)
