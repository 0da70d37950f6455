"""How the door to a server stays patient: full jitter, Retry-After, and a circuit that opens when the server is gone.

Full jitter (a wait drawn from 0 to a doubling limit) spreads the callers best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

import datetime
import email.utils
import math
import random
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds: the limit of the first wait, and of any
LONGEST_ASKED = 120.0  # seconds: a server that asks for a longer pause is given up for this request
PROBES = (5.0, 10.0, 20.0, 40.0, 80.0)  # seconds between one try and the next, while a server that had answered is gone
LOOK = 0.25  # seconds between two looks at an open circuit
NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
T = TypeVar("T")
Late = Callable[[float], bool]  # whether a try that begins after so many seconds would be too late


def never(seconds: float) -> bool:
    """There is time for any try."""
    return False


class Failure(Exception):
    """One try that gave no answer: `word` for counting, a reason for people."""

    def __init__(
        self, word: str, reason: str, again: bool = True, server: bool = True, wait: float | None = None, unsure: bool = False
    ) -> None:
        """`again`: another try may succeed. `server`: the server is to blame, not this request. `wait`: seconds it asks for.

        `unsure`: the server may have done the work, and bill it.
        """
        super().__init__(f"{word}: {reason}")
        self.word, self.again, self.server, self.wait, self.unsure = word, again, server, wait, unsure


class Circuit:
    """Opens after `limit` requests in a row failed through the server's fault, for all threads of an endpoint.

    Where the server never answered, every request fails at once from then on. Where it did, it may come back: one
    request at a time is let through, after longer and longer pauses, while the others wait; an answer closes the
    circuit, and a server that misses all of the probes is given up.
    """

    def __init__(self, limit: int, probes: tuple[float, ...] = PROBES) -> None:
        """A closed circuit; `limit` counts whole requests, not their tries."""
        self.limit, self.retries = limit, 0
        self.over = threading.Event()  # given up, or closed by the caller
        self._probes, self._missed, self._next = probes, 0, 0.0
        self._failed, self._reason, self._known = 0, "", False
        self._lock = threading.Lock()

    def enter(self, late: Late = never) -> None:
        """Wait while the circuit is open; raises Failure where it stays so until it is too late, or for good."""
        while not self.over.is_set():
            with self._lock:
                now = time.monotonic()
                if self._failed < self.limit:
                    return
                if now >= self._next:
                    self._next = math.inf  # this one is the probe; the others wait for what becomes of it
                    return
            if late(0):
                raise self._opened()
            self.over.wait(LOOK)
        self.check()

    def check(self) -> None:
        """Raises Failure where the server is given up."""
        if self.over.is_set():
            raise self._opened()

    def pause(self, seconds: float) -> None:
        """Wait before another try, or until the server is given up."""
        with self._lock:
            self.retries += 1
        self.over.wait(seconds)

    def answered(self) -> None:
        """The server works."""
        with self._lock:
            self._failed, self._known = 0, True

    def stumbled(self) -> None:
        """A try failed: where it was the probe, the next one has to wait longer."""
        with self._lock:
            if self._failed >= self.limit and self._next == math.inf:
                self._missed += 1
                self._schedule()

    def failed(self, failure: Failure) -> None:
        """A request was given up."""
        with self._lock:
            self._failed, self._reason = self._failed + 1, str(failure)
            if self._failed == self.limit:
                self._missed = 0 if self._known else len(self._probes)
                self._schedule()

    def _opened(self) -> Failure:
        return Failure("circuit_open", f"not sent, {self.limit} requests in a row had failed; the last: {self._reason}", again=False)

    def _schedule(self) -> None:
        if self._missed >= len(self._probes):
            self.over.set()
        else:
            self._next = time.monotonic() + self._probes[self._missed]


def persist(work: Callable[[], T], attempts: int, circuit: Circuit, late: Late = never) -> T:
    """The result of `work`, tried up to `attempts` times; raises the last Failure."""
    for attempt in range(attempts):
        circuit.enter(late)
        try:
            found = work()
        except Failure as failure:
            if not failure.server:
                circuit.answered()
                raise
            circuit.stumbled()
            wait = _wait(attempt, failure.wait)
            asked_too_much = failure.wait is not None and failure.wait > LONGEST_ASKED
            if not failure.again or asked_too_much or attempt == attempts - 1 or late(wait):
                circuit.failed(failure)
                raise
            circuit.pause(wait)
        else:
            circuit.answered()
            return found
    raise AssertionError("unreachable: attempts is at least 1")


def milliseconds(header: str | None) -> float | None:
    """Seconds of a retry-after-ms header, which OpenAI and Azure send beside Retry-After; None where it says nothing readable.

    OpenAI's own client prefers it: https://github.com/openai/openai-python/blob/main/src/openai/_base_client.py
    """
    return float(header) / 1_000 if header and NUMBER.fullmatch(header.strip()) else None


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either form (RFC 9110, 10.2.3); None where it says nothing readable."""
    if not header:
        return None
    if NUMBER.fullmatch(header.strip()):
        return float(header)
    try:
        at = email.utils.parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return max(0.0, (at - datetime.datetime.now(datetime.UTC)).total_seconds())


def _wait(attempt: int, asked: float | None) -> float:
    """Seconds before the next try: what was asked and a little more, so that the callers do not all come back at once."""
    if asked is not None:
        return asked + random.uniform(0, FIRST_WAIT)
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
