"""What an endpoint may be sent: requests and tokens a minute, as the profile says and as the server tells in its headers.

One `Limits` for all threads of an endpoint. What the profile grants is spread evenly. What the server grants is spent
until it says that nothing is left, then its reset is waited for: whether it grants little by little or all at once
when a window ends, no more is sent than it takes, and no less over the minutes. The headers, of which `reset` is the time
until all is granted again: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
A request's tokens are estimated before it is sent, as the server has to: four characters a token, and all that it may
write: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
"""

import math
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipelines.sections import Endpoint

POLL = 0.05  # seconds between two looks, for what is granted may change while one waits
CREDIT = 0.1  # seconds of the even spread that may be caught up: a thread wakes late
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 30.0  # seconds of all threads after a 429 that asks for none; it doubles
UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "": 1.0}
PART = r"(\d+(?:\.\d+)?)(ms|us|µs|d|h|m|s|)"


def duration(text: str | None) -> float | None:
    """Seconds that a reset header says, as `1s`, `6m0s`, `120ms` or `7.5`; None where it says nothing readable."""
    text = (text or "").strip()
    if not re.fullmatch(f"(?:{PART})+", text) or len(text) > 40:
        return None
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(PART, text))


def estimate(body: bytes, max_new_tokens: int) -> int:
    """Tokens that a request may come to, before anybody has counted."""
    return len(body) // 4 + max_new_tokens


class Allowance:
    """One kind of limit. Not for several threads at once: `Limits` holds the lock."""

    def __init__(self, a_minute: int) -> None:
        """`a_minute`: what the profile grants; 0: no limit of its own."""
        self._a_minute, self._next = a_minute, 0.0
        self._granted = self._left = math.inf  # by the server: at most, and now
        self._reset = 0.0  # time at which all is granted again
        self.under_way = 0

    def wait(self, cost: int, now: float) -> float:
        """Seconds until so much may be sent, as far as it is known; 0 or less: now."""
        if now >= self._reset:
            self._left = self._granted - self.under_way
        # What is more than the server ever grants goes alone, and the server decides.
        short = min(cost, self._granted) > self._left
        return max(self._next - now, max(self._reset - now, POLL) if short else 0.0)

    def take(self, cost: int, now: float) -> None:
        """So much is sent."""
        self.under_way += cost
        self._left -= cost
        if self._a_minute:
            self._next = max(self._next, now - CREDIT) + 60 * min(cost, self._a_minute) / self._a_minute

    def learn(self, headers: Mapping[str, str], kind: str, cost: int, now: float) -> None:
        """What the server's answer to one request of this cost says; what else is under way it had not counted yet."""
        remaining, granted = (headers.get(f"x-ratelimit-{name}-{kind}", "") for name in ("remaining", "limit"))
        reset = duration(headers.get(f"x-ratelimit-reset-{kind}"))
        if reset is None or not remaining.isdecimal():
            return
        self._granted = int(granted) if granted.isdecimal() and int(granted) else math.inf
        self._left = int(remaining) - (self.under_way - cost)
        self._reset = now + reset


class Limits:
    """All limits of one endpoint: whoever wants to send waits here, one after the other."""

    def __init__(self, endpoint: Endpoint, over: threading.Event) -> None:
        """`over`: ends every wait."""
        self._kinds = {"requests": Allowance(endpoint.requests_a_minute), "tokens": Allowance(endpoint.tokens_a_minute)}
        self._patience, self._over = endpoint.deadline_seconds, over
        self._paused, self._pauses, self._newest = 0.0, 0, 0.0
        self._turn, self._lock = threading.Lock(), threading.Lock()

    @contextmanager
    def admitted(self, tokens: int, deadline: float | None) -> Iterator[str]:
        """Waits; within it the request is under way. Yields why it may not be sent before `deadline`, empty where it may.

        Without a deadline (of time.monotonic) it waits its turn however long that is, but never for a limit that will
        not be granted within deadline_seconds.
        """
        costs = {"requests": 1, "tokens": tokens}
        why = self._enter(costs, deadline)
        try:
            yield why
        finally:
            if not why:
                with self._lock:
                    for kind, cost in costs.items():
                        self._kinds[kind].under_way -= cost

    def learn(self, headers: Mapping[str, str], tokens: int, sent: float) -> None:
        """What the answer to a request says that was sent at that time; an answer that was overtaken says nothing new."""
        if "x-ratelimit-remaining-requests" not in headers and "x-ratelimit-remaining-tokens" not in headers:
            return
        with self._lock:
            if sent < self._newest:
                return
            self._newest = sent
            for kind, cost in (("requests", 1), ("tokens", tokens)):
                self._kinds[kind].learn(headers, kind, cost, time.monotonic())

    def pause(self, seconds: float | None) -> None:
        """The server wants less: nobody sends for so long; None: it does not say how long, and each wave of it doubles the pause."""
        with self._lock:
            now = time.monotonic()
            if seconds is None:
                if now < self._paused:
                    return
                self._pauses += 1
                seconds = random.uniform(0.5, 1) * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._pauses, 20))
            self._paused = max(self._paused, now + seconds)

    def answered(self) -> None:
        """The server takes what it is sent."""
        self._pauses = 0

    def _enter(self, costs: dict[str, int], deadline: float | None) -> str:
        if not self._turn.acquire(timeout=-1 if deadline is None else max(0.0, deadline - time.monotonic())):
            return "others wait before it at the endpoint's limits"
        try:
            while True:
                with self._lock:
                    now = time.monotonic()
                    waits = {kind: self._kinds[kind].wait(cost, now) for kind, cost in costs.items()} | {"pause": self._paused - now}
                    kind = max(waits, key=lambda kind: waits[kind])
                    if waits[kind] <= 0 or self._over.is_set():
                        for name, cost in costs.items():
                            self._kinds[name].take(cost, now)
                        return ""
                if now + waits[kind] > (now + self._patience if deadline is None else deadline):
                    what = "the server asked for a pause" if kind == "pause" else f"the limit of {kind} is used up"
                    return f"{what} that lasts another {waits[kind]:.0f} s"
                self._over.wait(min(waits[kind], POLL))
        finally:
            self._turn.release()
