"""How the door to a server stays patient: full jitter, Retry-After, and a circuit that opens when the server is gone.

Full jitter (a wait drawn from 0 to a doubling limit) spreads the callers best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

import datetime
import email.utils
import random
import threading
from collections.abc import Callable
from typing import TypeVar

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds: the limit of the first wait, and of any
LONGEST_ASKED = 120.0  # seconds: a server that asks for a longer pause is given up for this request
T = TypeVar("T")


class Failure(Exception):
    """One try that gave no answer: `word` for counting, a reason for people."""

    def __init__(self, word: str, reason: str, again: bool = True, server: bool = True, wait: float | None = None) -> None:
        """`again`: another try may succeed. `server`: the server is to blame, not this request. `wait`: seconds it asks for."""
        super().__init__(f"{word}: {reason}")
        self.word, self.again, self.server, self.wait = word, again, server, wait


class Circuit:
    """Opens after `limit` requests in a row failed through the server's fault; from then on every request fails at once."""

    def __init__(self, limit: int) -> None:
        """A closed circuit; `limit` counts whole requests, not their tries."""
        self.limit, self.retries = limit, 0
        self._failed, self._reason = 0, ""
        self._lock, self._open = threading.Lock(), threading.Event()

    def check(self) -> None:
        """Raises Failure while the circuit is open."""
        if self._open.is_set():
            raise Failure("circuit_open", f"not sent, {self.limit} requests in a row had failed; the last: {self._reason}", again=False)

    def pause(self, seconds: float) -> None:
        """Wait before another try, or until the circuit opens."""
        with self._lock:
            self.retries += 1
        self._open.wait(seconds)

    def answered(self) -> None:
        """The server works."""
        with self._lock:
            self._failed = 0

    def failed(self, failure: Failure) -> None:
        """A request was given up."""
        with self._lock:
            self._failed, self._reason = self._failed + 1, str(failure)
            if self._failed >= self.limit:
                self._open.set()


def persist(work: Callable[[], T], attempts: int, circuit: Circuit) -> T:
    """The result of `work`, tried up to `attempts` times; raises the last Failure."""
    for attempt in range(attempts):
        circuit.check()
        try:
            found = work()
        except Failure as failure:
            if not failure.server:
                circuit.answered()
                raise
            asked_too_much = failure.wait is not None and failure.wait > LONGEST_ASKED
            if not failure.again or asked_too_much or attempt == attempts - 1:
                circuit.failed(failure)
                raise
            circuit.pause(_wait(attempt, failure.wait))
        else:
            circuit.answered()
            return found
    raise AssertionError("unreachable: attempts is at least 1")


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either form (RFC 9110, 10.2.3); None where it says nothing readable."""
    if not header:
        return None
    if header.strip().isdecimal():
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
