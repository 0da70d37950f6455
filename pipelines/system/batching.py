"""One thread that answers requests in batches: what waits when the model is free goes through it together.

Notable: requests to one model share a batch whatever their length limits and seeds; an answer does not depend on its
neighbours, and a sampled one draws from a generator of its own. While many clients ask, the thread waits a moment for
all of them: those who miss a batch would wait for the whole of it, and again for the next.
"""

import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

BATCH_ROWS = 32
FAILURES = (RuntimeError, OSError, ValueError, MemoryError)  # of a model; torch raises RuntimeError
ALONE_SECONDS = 0.005  # for another request, where the last batch held one
WAIT_SECONDS = 0.05  # for another request, where the last batch held several: a batch of them takes seconds


class Asked(NamedTuple):
    """One request."""

    model: str
    prompt: str  # rendered
    choices: tuple[str, ...]  # what the first line may be; empty: anything
    max_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]
    logprobs: bool = False


class Token(NamedTuple):
    """A piece of the answer; the pieces of an answer make up its text."""

    text: str
    logprob: float  # natural


class Answered(NamedTuple):
    """One answer."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    key: str  # content key of the model that wrote it
    tokens: tuple[Token, ...] | None = None  # where they were asked for


class Answers(Protocol):
    """What the thread asks."""

    def answer(self, batch: list[Asked]) -> list[Answered]:
        """One answer each; the requests are alike in model, choices and temperature."""
        ...

    def idle(self) -> None:
        """Called between batches, at least every few seconds."""
        ...


class Batcher:
    """Futures in, batches to the model, answers out."""

    def __init__(self, models: Answers) -> None:
        self._models = models
        self._last = 1  # rows of the last batch
        self._waiting: queue.Queue[tuple[Asked, Future[Answered]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked) -> "Future[Answered]":
        """Queue a request; the future holds the answer or the model's error."""
        future: Future[Answered] = Future()
        self._waiting.put((asked, future))
        return future

    def close(self) -> None:
        """Answer what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            batch, last = self._collect()
            for same in _alike(batch):
                self._answer(same)
            if last:
                return
            self._models.idle()

    def _collect(self) -> tuple[list[tuple[Asked, "Future[Answered]"]], bool]:
        """What waits, up to a full batch; and whether the end was reached."""
        batch: list[tuple[Asked, Future[Answered]]] = []
        wait = WAIT_SECONDS if self._last > 1 else ALONE_SECONDS
        while len(batch) < BATCH_ROWS:
            try:
                item = self._waiting.get(timeout=wait if batch else 5)
            except queue.Empty:
                break
            if item is None:
                return batch, True
            if item[1].set_running_or_notify_cancel():  # a client that hung up is not answered
                batch.append(item)
        self._last = len(batch) or self._last
        return batch, False

    def _answer(self, batch: list[tuple[Asked, "Future[Answered]"]]) -> None:
        try:
            answers = self._models.answer([asked for asked, _ in batch])
        except FAILURES as error:  # this thread must live on
            for _, future in batch:
                future.set_exception(error)
            return
        for (one, future), answered in zip(batch, answers, strict=True):
            future.set_result(_cut(answered, one.stop))


def _alike(batch: Iterable[tuple[Asked, "Future[Answered]"]]) -> list[list[tuple[Asked, "Future[Answered]"]]]:
    """Groups that one call can answer."""
    groups: dict[object, list[tuple[Asked, Future[Answered]]]] = {}
    for asked, future in batch:
        groups.setdefault((asked.model, asked.choices, asked.temperature), []).append((asked, future))
    return list(groups.values())


def _cut(answered: Answered, stop: tuple[str, ...]) -> Answered:
    """The text, and its tokens, up to the first stop text."""
    ends = [place for text in stop if (place := answered.text.find(text)) >= 0]
    if not ends:
        return answered
    tokens, length = [], 0
    for token in answered.tokens or ():
        if length >= min(ends):
            break
        tokens.append(token)
        length += len(token.text)
    cut = answered._replace(text=answered.text[: min(ends)], finish_reason="stop")
    return cut if answered.tokens is None else cut._replace(tokens=tuple(tokens))
