"""The one door to any model: the embedded one, or any OpenAI-compatible server (vLLM, llama.cpp, a hosted API).

`ask` answers every request with a text, or with an error word and its reason; one bad request never loses the others.
What was answered before comes from the memo. Money is reserved before a call is sent, and settled after its reply is kept:
in this order, so that a killed process pays for no reply twice. Requests are taken when they are needed and replies are
given as they arrive: a hundred thousand rows need no more memory than a few hundred.
"""

import hashlib
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.foundation import embedded, local, memo, privacy
from pipelines.foundation.memo import Kept
from pipelines.foundation.messages import Answered, Call, Reply, Request
from pipelines.foundation.numbered import Numbered
from pipelines.foundation.retries import Failure
from pipelines.foundation.step import Night, fingerprint
from pipelines.foundation.till import Till
from pipelines.sections import Endpoint

if TYPE_CHECKING:
    from pipelines.foundation import batches

CODE = 1  # of what a key is made of
LOOKUP = 4_096  # requests looked up at once: each look-up reads all that is kept of the model
WINDOW = 256  # calls reserved at once, and replies kept and settled at once
FLUSH_SECONDS = 5.0  # between an answer and its being kept
log = logging.getLogger("pipelines.llm")


def ask(night: Night, name: str, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
    """A reply to each request, with the request's place, in the order of arrival; `name` is an endpoint of the profile.

    Raises UserError only where the endpoint names an API key that is not there. Close the iterator to stop early: what
    was answered is kept.
    """
    endpoint = night.profile.endpoints.get(name)
    if endpoint is None:
        for place, _ in enumerate(requests):
            night.tab.failed["no_endpoint"] += 1
            yield place, Reply(None, f"no_endpoint: the profile has no endpoint {name}")
        return
    desk = _Desk(night, name, endpoint)
    try:
        yield from desk.serve(_shielded(night, requests) if endpoint.kind == "openai" else requests)
    finally:
        desk.close()


def _shielded(night: Night, requests: Iterable[Request]) -> Iterator[Request]:
    """Requests that leave the house, with what the policy `hosted` hides: before they have a key, are kept or are sent."""
    shield = privacy.shield(night.usecase.privacy, "hosted")
    for request in requests:
        yield request._replace(system=privacy.hide(request.system, shield), prompt=privacy.hide(request.prompt, shield))


class _Desk:
    """One round of requests to one endpoint."""

    def __init__(self, night: Night, name: str, endpoint: Endpoint) -> None:
        self._night, self._name, self._endpoint = night, name, endpoint
        hosted = endpoint.kind == "openai"
        who = [endpoint.url, endpoint.model] if hosted else [embedded.revision()]
        self._scope = fingerprint("calls", CODE, endpoint.kind, who)
        self._calls = memo.Calls(night.lake, self._scope, endpoint.model if hosted else embedded.NAME)
        self._till = Till(night, endpoint)
        self._sent: dict[str, Request] = {}  # calls under way, by key
        self._places: dict[str, list[int]] = {}  # who waits for which key
        self._fresh: dict[str, Kept] = {}  # answered, not written down yet
        self._gone: dict[str, Reply] = {}  # given up, not settled yet
        self._flushed = self._started = time.monotonic()

    def serve(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """See `ask`."""
        words: Counter[str] = Counter()
        for key, reply in self._send(self._plan(requests)):
            if (request := self._sent.pop(key, None)) is not None:
                self._take(key, request, reply)
            for place in self._places.pop(key, ()):
                words[reply.word] += 1
                yield place, reply
        self._night.tab.failed.update({word: count for word, count in words.items() if word not in ("", "waiting")})
        told = ", ".join(f"{word or 'answered'} {count}" for word, count in words.most_common()) or "nothing asked"
        log.info("the %s endpoint %s, %.1f s: %s", self._endpoint.kind, self._name, time.monotonic() - self._started, told)

    def close(self) -> None:
        """Keep what was answered; give back the money of what was never sent. What is under way may be billed: it stays reserved."""
        self._flush()
        self._till.release(besides=self._sent)

    def _send(self, calls: Iterator[Call | Answered | None]) -> Iterator[Answered]:
        if self._endpoint.kind == "embedded":
            return local.answer(Path(self._night.profile.state) / "models", calls, WINDOW)
        if self._endpoint.batch:
            return self._post(calls)
        from pipelines.foundation import server

        return server.stream(self._endpoint, calls)

    def _plan(self, requests: Iterable[Request]) -> Iterator[Call | Answered | None]:
        """What to send: not what is known, nor what is under way already, nor what no cap has room for."""
        numbered = enumerate(requests)
        while window := list(itertools.islice(numbered, LOOKUP)):
            new: dict[str, Request] = {}
            for place, request in window:
                key = self._key(request)
                self._places.setdefault(key, []).append(place)
                if key not in self._sent:
                    new.setdefault(key, request)
            known = self._find(list(new))
            for key, kept in known.items():
                self._night.tab.reused += 1
                yield Answered(key, kept.reply)
            left = [Call(key, request) for key, request in new.items() if key not in known]
            for start in range(0, len(left), WINDOW):
                yield from self._reserve(left[start : start + WINDOW])

    def _find(self, keys: list[str]) -> dict[str, Kept]:
        """Replies from the memo; one whose money a killed process left reserved is settled now."""
        fresh = {key: self._fresh[key] for key in keys if key in self._fresh}
        stored = self._calls.find([key for key in keys if key not in fresh])
        self._till.settle_left(stored.values())
        return fresh | stored

    def _reserve(self, calls: list[Call]) -> Iterator[Call | Answered | None]:
        """Calls whose money is reserved; those for which there is none are answered at once."""
        left = []
        for call in calls:
            if dear := self._till.too_dear(call):
                yield Answered(call.key, Reply(None, f"over_budget: {dear}"))
            else:
                left.append(call)
        while left:
            count = self._till.reserve(left)
            for call in left[:count]:
                self._sent[call.key] = call.request
                yield call
            left = left[count:]
            if not left or count:
                continue
            if self._fresh or self._gone:
                self._flush()  # what came cheaper than its bound leaves room
            elif self._sent:
                yield None
            else:
                why = f"over_budget: {self._till.refuse()}"
                for call in left:
                    yield Answered(call.key, Reply(None, why))
                return

    def _take(self, key: str, request: Request, reply: Reply) -> None:
        """Remember a reply until the next flush; only what a model wrote is kept for good."""
        if reply.text is not None or reply.usage is not None:
            self._fresh[key] = Kept(key, request.item, reply, self._till.cost(reply))
            self._night.tab.calls += 1
        else:
            self._gone[key] = reply
        # The embedded model's replies come a window at once and are kept together: after a kill the same windows are made again.
        late = self._endpoint.kind == "openai" and time.monotonic() - self._flushed > FLUSH_SECONDS
        if late or len(self._fresh) + len(self._gone) >= WINDOW:
            self._flush()

    def _flush(self) -> None:
        """Replies into the memo, then their money into the book."""
        self._calls.keep(self._fresh.values())
        self._till.settle(self._fresh.values(), self._gone)
        self._fresh, self._gone, self._flushed = {}, {}, time.monotonic()

    def _post(self, calls: Iterator[Call | Answered | None]) -> Iterator[Answered]:
        """Through the provider's batches: what has come back is kept first, then the rest is submitted and waits."""
        from pipelines.foundation import batches

        store, tab = Numbered(f"{self._night.lake.root}/batches"), self._night.tab
        waiting: dict[str, str] = {}
        for batch in batches.open_batches(store, self._endpoint):
            if not self._collect(store, batch):
                tab.waiting[batch.id] = self._name
                waiting |= dict.fromkeys(batch.keys, batch.id)
        new = []
        for call in calls:
            if isinstance(call, Answered):
                yield call
            elif call is not None and call.key in waiting:
                yield Answered(call.key, Reply(None, f"waiting: {waiting[call.key]}"))
            elif call is not None:
                new.append(call)
            else:
                yield from self._submit(store, new)
                new = []
        yield from self._submit(store, new)

    def _collect(self, store: Numbered, batch: "batches.Batch") -> bool:
        """Keep and settle what a batch answered, whoever asked; False while it runs, or while nobody can be asked about it."""
        from pipelines.foundation import batches

        try:
            answers = batches.collect(self._endpoint, store, batch)
        except Failure as failure:
            log.warning("%s: batch %s: %s", self._name, batch.id, failure)
            return False
        if answers is None:
            return False
        for key, reply in answers:
            self._take(key, batch.requests[key], reply)
        self._flush()
        batches.close(store, batch)
        return True

    def _submit(self, store: Numbered, calls: list[Call]) -> Iterator[Answered]:
        from pipelines.foundation import batches

        for part in batches.parts(self._endpoint, calls):
            try:
                batch = batches.submit(self._endpoint, store, part)
                why = f"waiting: {batch.id}"
                self._night.tab.waiting[batch.id] = self._name
            except Failure as failure:
                why = str(failure)
            for call in part:
                yield Answered(call.key, Reply(None, why))

    def _key(self, request: Request) -> str:
        """The hash of everything that the answer depends on: half of a SHA-256."""
        held = request.choices if self._endpoint.kind == "embedded" else self._endpoint.structured and request.schema
        wanted = (request.system, request.prompt, request.max_new_tokens, request.temperature, request.seed, request.occasion)
        parts = json.dumps([self._scope, *wanted, held, self._endpoint.logprobs], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]
