"""A paid OpenAI-compatible server that goes wrong on purpose: a process of its own on 127.0.0.1, which bills to the token.

with BillingServer(Terms(faults=0.05)) as server:
    replies = list(stream(server.endpoint(idempotent=True), calls))
assert server.bill()["most_by_key"] == 1

A key that comes again gets the completion that is stored for it, unbilled, where the server honours Idempotency-Key.
What goes wrong with a try is drawn from its key and number, so a run can be repeated; times are short, so that 10,000
calls take seconds. asyncio on raw sockets: one request costs it about 0.1 ms, so that a client can be measured with it.
"""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Self

from pipelines.sections import Endpoint
from tests.rationing import Meter
from tests.writing import draw, impossible, written

MODEL = "paid-model"
ROOT = Path(__file__).resolve().parent.parent
KINDS = ("retry_after", "throttled", "error", "slow", "hang", "cut", "not_json", "no_choices", "counts")  # and wrong_schema, by key


class Terms(NamedTuple):
    """How the server behaves; dollars are for a million tokens, as decimal strings."""

    latency: float = 0.02  # seconds of a completion
    faults: float = 0.0  # chance of each kind of fault
    seed: int = 0
    honour: bool = True  # Idempotency-Key
    input: str = "0.15"
    cached: str = "0.075"
    output: str = "0.60"
    requests: int = 0  # limits that are enforced and told in headers; 0: none
    tokens: int = 0
    window: float = 1.0  # seconds in which a limit is granted
    smooth: bool = True  # granted little by little (a bucket), or all at once when the window ends
    slow: float = 0.3
    hang: float = 30.0
    pause: int = 10  # milliseconds that a 429 asks for


class BillingServer:
    """The server from `with` to its end."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.billing", json.dumps(self.terms._asdict())]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def endpoint(self, **settings: object) -> Endpoint:
        """A profile's endpoint that leads here."""
        return Endpoint(**{"kind": "openai", "url": self.url, "model": MODEL, "timeout_seconds": 1} | settings)

    def bill(self) -> dict:
        """Calls, dollars (decimal strings, by_key too), billed_keys, most_by_key, most_at_once, answers by status, faults by kind."""
        with urllib.request.urlopen(f"{self.url}/bill") as response:
            return json.load(response)


class Books:
    """What was asked, what was written, and what it costs."""

    def __init__(self, terms: Terms, now: float) -> None:
        self.terms, self.stored, self.at_once, self.most_at_once = terms, {}, 0, 0
        self.tries, self.generations, self.answers, self.faults = Counter(), Counter(), Counter(), Counter()
        self.dollars: Counter = Counter()  # by key, of a million tokens at these prices: exact, as Decimal
        limits = {"requests": terms.requests, "tokens": terms.tokens}
        self.meters = {kind: Meter(granted, terms.window, terms.smooth, now) for kind, granted in limits.items()}
        self.prices = [Decimal(price) / 1_000_000 for price in (terms.input, terms.cached, terms.output)]

    def fault(self, key: str, attempt: int) -> tuple[str, float]:
        """What goes wrong with this try, empty for nothing, and a number to choose its form by."""
        if not self.terms.faults:
            return "", 0.0
        place, rest = divmod(draw(self.terms.seed, key, attempt) / self.terms.faults, 1)
        return (KINDS[int(place)], rest) if place < len(KINDS) else ("", rest)

    def completion(self, key: str, body: dict) -> dict:
        """The one that is stored for the key, or a new one, which is billed."""
        if self.terms.honour and key in self.stored:
            return self.stored[key]
        text = written(key, body)
        if "response_format" in body and draw(self.terms.seed, key, "schema") < self.terms.faults:
            text = '{"verdict": 7}'
        prompt = sum(len(str(message["content"]).encode()) for message in body["messages"]) // 4 + 8
        count = min(len(text) // 4 + 1, body.get("max_tokens", 256))
        cached = prompt // 2 if draw(key, "cached") < 0.5 else 0
        usage = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
        choice: dict = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": word, "logprob": -draw(key, word)} for word in text.split()]}
        self.stored[key] = {
            "id": f"chatcmpl-{key[:12]}",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }
        self.generations[key] += 1
        for tokens, price in zip((prompt - cached, cached, count), self.prices, strict=True):
            self.dollars[key] += tokens * price
        return self.stored[key]

    def admit(self, body: dict, now: float) -> tuple[bool, dict[str, str]]:
        """Whether the limits allow a request, and the headers that tell what is left; an estimate counts, as with OpenAI."""
        cost = {
            "requests": 1,
            "tokens": sum(len(str(message["content"])) for message in body["messages"]) // 4 + body.get("max_tokens", 256),
        }
        limited = {kind: meter for kind, meter in self.meters.items() if meter.granted}
        for meter in limited.values():
            meter.refill(now)
        admitted = all(meter.left >= cost[kind] for kind, meter in limited.items())
        headers = {}
        for kind, meter in limited.items():
            meter.left -= cost[kind] if admitted else 0
            told = {"limit": str(meter.granted), "remaining": str(int(meter.left)), "reset": f"{meter.reset(now) * 1000:.0f}ms"}
            headers |= {f"x-ratelimit-{name}-{kind}": value for name, value in told.items()}
        return admitted, headers

    def bill(self) -> dict:
        """The sum, and its parts."""
        return {
            "calls": sum(self.tries.values()),
            "billed_keys": len(self.generations),
            "dollars": str(sum(self.dollars.values(), Decimal(0))),
            "most_by_key": max(self.generations.values(), default=0),
            "most_at_once": self.most_at_once,
            "answers": self.answers,
            "faults": self.faults,
            "by_key": {key: str(dollars) for key, dollars in self.dollars.items()},
        }


class Exchange(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, books: Books) -> None:
        self.books, self.loop, self.held = books, asyncio.get_running_loop(), b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        end = self.held.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self.held[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(self.held) < end + 4 + size:
            return
        body, self.held = self.held[end + 4 : end + 4 + size], b""
        if first.startswith("GET"):
            self.later(0, 200, json.dumps(self.books.bill()))
        else:
            self.answer(headers.get("idempotency-key") or f"unnamed-{len(self.books.tries)}", json.loads(body))

    def answer(self, key: str, body: dict) -> None:
        """Deliver the completion, or what the draw says."""
        books, terms = self.books, self.books.terms
        attempt, books.tries[key] = books.tries[key], books.tries[key] + 1
        admitted, limits = books.admit(body, self.loop.time())
        if not admitted:
            return self.later(0, 429, '{"error": {"message": "limit reached"}}', limits | {"retry-after-ms": str(terms.pause)})
        kind, form = books.fault(key, attempt)
        books.faults[kind] += 1
        if kind in ("retry_after", "throttled"):
            asks = {"Retry-After": "1", "retry-after-ms": str(terms.pause)} if kind == "retry_after" else {}
            return self.later(0, 429, '{"error": {"message": "too many requests"}}', asks)
        if kind == "error" and form < 0.5:
            return self.later(0, 500, '{"error": {"message": "before the work"}}')
        said = books.completion(key, body)
        if kind == "error":
            return self.later(terms.latency, 500, '{"error": {"message": "after the work"}}')
        if kind == "no_choices":
            said = said | {"choices": []}
        if kind == "counts":
            said = said | {"usage": impossible(said["usage"], body["max_tokens"], form)}
        text = json.dumps(said)
        wait = {"slow": terms.slow, "hang": terms.hang}.get(kind, terms.latency)
        return self.later(wait, 200, text[: len(text) // 2] if kind == "not_json" else text, limits, cut=kind == "cut")

    def later(self, seconds: float, *answer: object, **how: bool) -> None:
        self.books.at_once += 1
        self.books.most_at_once = max(self.books.at_once, self.books.most_at_once)
        self.loop.call_later(seconds, lambda: self.send(*answer, **how))

    def send(self, status: int, body: str, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        self.books.at_once -= 1
        if self.wire.is_closing():
            return
        self.books.answers[status] += 1
        told = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        raw = body.encode()
        head = f"HTTP/1.1 {status} said\r\nContent-Type: application/json\r\n{told}Content-Length: {len(raw)}\r\n\r\n"
        self.wire.write(head.encode() + (raw[: len(raw) // 2] if cut else raw))
        if cut:
            self.wire.close()


async def serve(terms: Terms) -> None:
    """Serve for ever; the port is the first line on stdout."""
    loop = asyncio.get_running_loop()
    books = Books(terms, loop.time())
    server = await loop.create_server(lambda: Exchange(books), "127.0.0.1", 0, backlog=1_024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Terms(**json.loads(sys.argv[1]))))
