"""The door's floor that speaks to a server: many requests in flight, each tried with patience, answered as they come."""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from queue import SimpleQueue

from pipelines.foundation import chat
from pipelines.foundation.connections import Connections
from pipelines.foundation.limits import Limits, estimate
from pipelines.foundation.messages import Answered, Call, Reply
from pipelines.foundation.retries import LONGEST_ASKED, Circuit, Failure, persist
from pipelines.sections import Endpoint

FAILURES = 5  # requests in a row, after which a server is given up; more where more are in flight at one bad moment
IDLE = 0.05  # seconds until a caller who had nothing to send is asked again, while nothing is under way
log = logging.getLogger("pipelines.server")


def stream(endpoint: Endpoint, calls: Iterable[Call | Answered | None]) -> Iterator[Answered]:
    """The reply to each call, in the order of arrival; what is answered already is passed on.

    `calls` is read on the caller's own thread, as far ahead as the threads need not to wait for the caller: twice
    `in_flight`. None says that there is nothing to send until the next answer. Close the iterator to stop early: what
    is under way is cut, and may be billed. Raises UserError where the endpoint names an API key that is not there.
    """
    answers: SimpleQueue[Future[Answered]] = SimpleQueue()
    left, under_way, most = iter(calls), 0, 2 * endpoint.in_flight
    with closing(_Door(endpoint)) as door:
        while True:
            while left is not None and under_way < most:
                call = next(left, left)
                if call is left:
                    left = None
                elif call is None:
                    break
                elif isinstance(call, Answered):
                    yield call
                    if not answers.empty():
                        break
                else:
                    door.send(call).add_done_callback(answers.put)
                    under_way += 1
            if under_way:
                answered = answers.get().result()
                under_way -= 1
                yield answered
            elif left is None:
                return
            else:
                time.sleep(IDLE)


class _Door:
    """The threads of one endpoint and what they share."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connections = Connections(endpoint)
        self._circuit = Circuit(max(FAILURES, endpoint.in_flight))
        self._limits = Limits(endpoint, self._circuit.over)
        self._pool = ThreadPoolExecutor(endpoint.in_flight, thread_name_prefix="door")
        self._under_way: set[Future[Answered]] = set()

    def send(self, call: Call) -> Future[Answered]:
        """Have a thread answer the call."""
        future = self._pool.submit(self._answer, call)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def close(self) -> None:
        """End every wait, cut what is under way, and wait for the threads."""
        self._circuit.over.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        while under_way := list(self._under_way):
            self._connections.cut()  # again and again: a thread may have been on its way to the wire
            wait(under_way, timeout=IDLE)
        self._pool.shutdown()
        self._connections.close()
        log.info("%s: %d tries were repeated", chat.name(self._endpoint), self._circuit.retries)

    def _answer(self, call: Call) -> Answered:
        endpoint = self._endpoint
        try:
            body = json.dumps(chat.body(endpoint, call.request), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            return Answered(call.key, Reply(None, f"refused: the request cannot be written as JSON: {error}"))
        tries = _Tries(call, body, endpoint, self._connections, self._limits, self._circuit)
        try:
            reply = persist(tries.once, endpoint.attempts, self._circuit, tries.late)
        except Failure as failure:
            return Answered(call.key, Reply(None, str(failure), unsure=min(tries.unsure, 1) if endpoint.idempotent else tries.unsure))
        # An answer without text or count was billed too; one with a text says so itself.
        untold = int(reply.text is None and reply.usage is None)
        return Answered(call.key, reply._replace(unsure=untold + (0 if endpoint.idempotent else tries.unsure)))


class _Tries:
    """All tries of one call, which end deadline_seconds after the first one began: what waits its turn has not begun."""

    def __init__(self, call: Call, body: bytes, endpoint: Endpoint, connections: Connections, limits: Limits, circuit: Circuit) -> None:
        self.unsure = 0  # tries that may be billed, and of which no usage is known
        self._call, self._body, self._endpoint = call, body, endpoint
        self._connections, self._limits, self._circuit = connections, limits, circuit
        self._tokens = estimate(body, call.request.max_new_tokens)
        self._deadline: float | None = None

    def late(self, seconds: float) -> bool:
        """Whether a try that begins after so many seconds would be too late."""
        return self._deadline is not None and time.monotonic() + seconds >= self._deadline

    def once(self) -> Reply:
        """The reply, tried once when the endpoint's limits allow it; raises Failure."""
        with self._limits.admitted(self._tokens, self._deadline) as why:
            if why:
                raise Failure("rate_limited", f"not sent, {why}", again=False)
            self._circuit.check()  # it may have been given up in the meantime
            try:
                reply = self._exchange()
            except Failure as failure:
                self.unsure += failure.unsure
                if failure.word == "rate_limited" or failure.wait is not None:
                    self._limits.pause(failure.wait if failure.wait is None else min(failure.wait, LONGEST_ASKED))
                raise
        self._limits.answered()
        return reply

    def _exchange(self) -> Reply:
        call, endpoint, sent = self._call, self._endpoint, time.monotonic()
        self._deadline = self._deadline or sent + endpoint.deadline_seconds
        answer = self._connections.post(self._body, call.key, min(endpoint.timeout_seconds, self._deadline - sent))
        self._limits.learn(answer.headers, self._tokens, sent)
        if answer.status != 200:
            raise chat.refusal(answer.status, answer.headers, answer.content, endpoint.structured and call.request.schema is not None)
        return chat.reply(endpoint, call.request, answer.content)
