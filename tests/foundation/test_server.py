"""The floor that speaks to a server: every call is answered or says why not, over real sockets, and no try is paid in silence."""

import datetime
import email.utils
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from pipelines.foundation import retries, server
from pipelines.foundation.messages import Answered, Call, Reply, Request
from pipelines.foundation.retries import Circuit, Failure, persist
from tests.asking import answers, asked, numbered, questions
from tests.servers import ChatServer, Fault, always, first


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that nobody asked for are short."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("door")]


def test_all_are_answered_and_no_more_than_in_flight_are_under_way() -> None:
    with ChatServer(always(Fault("slow", seconds=0.02))) as chat:
        assert asked(chat.endpoint(in_flight=4), questions(40)) == answers(40)
    assert chat.most_in_flight == 4 and chat.connections <= 4 and chat.billed == 40


def test_an_answer_is_given_as_soon_as_it_is_there() -> None:
    slow_first = lambda call: Fault("slow", seconds=0.5) if call.number == 0 else None  # noqa: E731
    with ChatServer(slow_first) as chat:
        keys = [answered.key for answered in server.stream(chat.endpoint(in_flight=2), numbered(questions(6)))]
    assert sorted(keys) == [f"key-{number:04}" for number in range(6)] and keys != sorted(keys)


def test_the_threads_go_on_while_the_caller_is_busy() -> None:
    with ChatServer(always(Fault("slow", seconds=0.01))) as chat:
        replies = server.stream(chat.endpoint(in_flight=4), numbered(questions(40)))
        next(replies)
        time.sleep(0.3)
        assert len(chat.calls) == 8
        replies.close()


def test_calls_are_taken_only_when_they_are_needed() -> None:
    taken = itertools.count()
    endless = (Call(f"key-{number}", Request("", f"question {number}", 16)) for number in taken)
    with ChatServer() as chat:
        replies = server.stream(chat.endpoint(in_flight=3), endless)
        assert len(list(itertools.islice(replies, 50))) == 50
        replies.close()
    assert next(taken) <= 50 + 2 * 3


def test_closing_early_cuts_what_is_under_way_and_leaves_no_thread() -> None:
    with ChatServer(lambda call: Fault("hang") if call.number else None) as chat:
        replies = server.stream(chat.endpoint(in_flight=8, timeout_seconds=60), numbered(questions(100)))
        next(replies)
        started = time.monotonic()
        replies.close()
    assert time.monotonic() - started < 2 and not threads() and len(chat.calls) <= 1 + 8


def test_closing_early_sends_nothing_that_still_waits_for_its_turn() -> None:
    with ChatServer() as chat:
        replies = server.stream(chat.endpoint(in_flight=4, requests_a_minute=60), numbered(questions(100)))
        next(replies)
        started = time.monotonic()
        replies.close()
        assert time.monotonic() - started < 0.5 and len(chat.calls) == 1


def test_nothing_to_send_is_waited_for_and_what_is_answered_already_is_passed_on() -> None:
    known = Answered("known", Reply("from before", None))

    def later() -> Iterator[Call | Answered | None]:
        yield from [None, known, Call("one", questions(1)[0]), None, known, None, None, Call("two", questions(1)[0])]

    with ChatServer() as chat:
        found = list(server.stream(chat.endpoint(), later()))
    assert sorted(answered.key for answered in found) == ["known", "known", "one", "two"] and chat.billed == 2


def test_every_try_of_a_call_carries_its_key() -> None:
    with ChatServer(first(2, Fault("status", status=500))) as chat:
        asked(chat.endpoint(), questions(2))
    assert sorted(call.headers["Idempotency-Key"] for call in chat.calls) == ["key-0000"] * 3 + ["key-0001"] * 3


PASSING = [  # fault, whether the completion was made, whether the try may have been billed for all that we know
    (Fault("status", status=429), False, False),
    (Fault("status", status=409), False, False),
    (Fault("status", status=500), False, True),
    (Fault("status", status=503, retry_after="0"), False, True),
    (Fault("hang"), False, True),
    (Fault("slow", seconds=2), True, True),
    (Fault("drip", seconds=0.02), True, True),
    (Fault("cut"), True, True),
    (Fault("body", body="{not json"), True, True),
    (Fault("body", body="[" * 200_000), True, True),
    (Fault("body", body='{"choices": []}'), True, True),
    (Fault("body", body='{"choices": [{"message": "text"}]}'), True, True),
    (Fault("body", body='{"choices": [{"message": {"content": ["text"]}}]}'), True, True),
    (Fault("body", body="null"), True, True),
]


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(("fault", "made", "unsure"), PASSING, ids=lambda value: f"{value}"[:60])
def test_a_fault_that_passes_is_tried_again_and_what_may_be_billed_is_told(
    fault: Fault, made: bool, unsure: bool, idempotent: bool
) -> None:
    with ChatServer(first(1, fault)) as chat:
        replies = asked(chat.endpoint(timeout_seconds=1, in_flight=3, idempotent=idempotent), questions(3))
    assert replies == answers(3, unsure=int(unsure and not idempotent))
    assert len(chat.calls) == 6 and chat.billed == (6 if made else 3)


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(
    ("fault", "word", "unsure"),
    [
        (Fault("status", status=429), "rate_limited", 0),
        (Fault("status", status=500), "server_error", 2),
        (Fault("hang"), "timeout", 2),
        (Fault("drip", seconds=0.02), "timeout", 2),
        (Fault("cut"), "connection", 2),
        (Fault("body", body="<html>"), "malformed", 2),
        (Fault("body", body='{"error": "overloaded"}'), "malformed", 2),
        (Fault("body", body="x" * 9_000_000), "malformed", 2),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else str(value),
)
def test_a_fault_that_stays_is_an_error_of_its_own_call_alone(fault: Fault, word: str, unsure: int, idempotent: bool) -> None:
    with ChatServer(lambda call: fault if call.prompt == "question 1" else None) as chat:
        replies = asked(chat.endpoint(attempts=2, timeout_seconds=1, idempotent=idempotent), questions(4))
    assert [reply.word for reply in replies] == ["", word, "", ""] and len(chat.calls) == 4 + 1
    assert len(str(replies[1].error)) > len(word) + 10
    assert replies[1].unsure == (min(unsure, 1) if idempotent else unsure)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_waited_for(status: int) -> None:
    with ChatServer(first(1, Fault("status", status=status, retry_after="1"))) as chat:
        started = time.monotonic()
        assert [reply.text for reply in asked(chat.endpoint(), questions(2))] == ["re: question 0", "re: question 1"]
    assert 1 <= time.monotonic() - started < 3


def test_retry_after_as_a_date_is_waited_for() -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    with ChatServer(first(1, Fault("status", status=429, retry_after=email.utils.format_datetime(at, usegmt=True)))) as chat:
        assert asked(chat.endpoint(), questions(1)) == answers(1)
    assert datetime.datetime.now(datetime.UTC) >= at.replace(microsecond=0)


def test_a_server_that_asks_for_an_hour_is_not_waited_for() -> None:
    with ChatServer(always(Fault("status", status=429, retry_after="3600"))) as chat:
        started = time.monotonic()
        assert asked(chat.endpoint(), questions(1))[0].word == "rate_limited"
    assert time.monotonic() - started < 2 and len(chat.calls) == 1


@pytest.mark.parametrize("nonsense", ["soon", "-5", "Fri, 99 Nov 2026 00:00:00 GMT", "1e9"])
def test_a_retry_after_that_says_nothing_is_not_believed(nonsense: str) -> None:
    with ChatServer(first(1, Fault("status", status=429, retry_after=nonsense))) as chat:
        assert asked(chat.endpoint(), questions(1)) == answers(1)


def test_a_call_ends_at_its_deadline_however_many_tries_are_left() -> None:
    with ChatServer(always(Fault("hang"))) as chat:
        started = time.monotonic()
        [reply] = asked(chat.endpoint(attempts=100, timeout_seconds=1, deadline_seconds=1), questions(1))
    assert reply.word == "timeout" and 0.3 <= time.monotonic() - started < 2
    assert reply.unsure == len(chat.calls) <= 4


def test_a_server_that_never_answers_is_given_up_and_every_call_says_why() -> None:
    with ChatServer(always(Fault("status", status=500))) as chat:
        replies = asked(chat.endpoint(in_flight=2, attempts=2), questions(50))
    assert {reply.word for reply in replies} == {"server_error", "circuit_open"}
    assert len(chat.calls) <= 2 * (server.FAILURES + 1)
    assert "HTTP 500" in str(replies[-1].error) and replies[-1].unsure == 0


def test_requests_refused_for_their_own_sake_do_not_open_the_circuit() -> None:
    with ChatServer() as chat:
        replies = asked(chat.endpoint(in_flight=1), [Request("", "", 5)] * 20 + questions(3))
    assert replies[-3:] == answers(3)


def outage(circuit: Circuit, failing: range) -> tuple[list[str], int]:
    """Words of 40 calls, one after the other, and how many tries were made; those of `failing` fail."""
    tries = itertools.count()

    def work() -> str:
        if next(tries) in failing:
            raise Failure("connection", "gone")
        return ""

    def word() -> str:
        try:
            return persist(work, 1, circuit)
        except Failure as failure:
            return failure.word

    return [word() for _ in range(40)], next(tries)


def test_a_server_that_comes_back_loses_only_what_failed_before_the_circuit_opened_and_the_probes() -> None:
    words, tries = outage(Circuit(3, probes=(0.05, 0.05, 0.05)), range(10, 15))
    assert words == [""] * 10 + ["connection"] * 5 + [""] * 25 and tries == 40


def test_a_server_that_misses_every_probe_is_given_up() -> None:
    words, tries = outage(Circuit(3, probes=(0.05, 0.05)), range(10, 99))
    assert words == [""] * 10 + ["connection"] * 5 + ["circuit_open"] * 25 and tries == 15
