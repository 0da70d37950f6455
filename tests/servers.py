"""A local OpenAI-compatible server with programmable faults: real sockets on 127.0.0.1, no model behind it.

with ChatServer(fault=first(2, Fault("status", status=503))) as server:
    replies = list(stream(server.endpoint(), calls))
assert server.billed == len(calls)
"""

import json
import re
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple, Self

from pipelines.sections import Endpoint

MODEL = "test-model"


class Fault(NamedTuple):
    """What goes wrong with one call. Kinds from `cut` on have done the work, and bill it, before they spoil the answer."""

    kind: Literal["status", "hang", "slow", "cut", "drip", "redirect", "body"]
    status: int = 500
    retry_after: str = ""
    seconds: float = 0  # slow: before the answer; drip: between two bytes
    body: str = ""  # sent instead of the completion


class Call(NamedTuple):
    """One POST as the server saw it."""

    number: int  # from 0, over all calls
    attempt: int  # from 0, over the calls with this prompt
    prompt: str
    body: dict
    headers: dict[str, str]


def first(count: int, fault: Fault) -> Callable[[Call], Fault | None]:
    """The fault on the first tries of every prompt."""
    return lambda call: fault if call.attempt < count else None


def always(fault: Fault) -> Callable[[Call], Fault | None]:
    """The fault on every call."""
    return lambda call: fault


def echo(call: Call) -> str:
    """The prompt, so that a test sees which question an answer belongs to."""
    return f"re: {call.prompt}"


def fenced(call: Call) -> list[str]:
    """The texts that a judge's prompt fences, in the order of the prompt."""
    return [text for _, text in re.findall(r"\[([0-9a-f]{16})\]\n(.*?)\n\[\1\]", call.prompt, re.DOTALL)]


def fair(call: Call) -> str:
    """A pairwise judge that is always right: the better one of the last two texts says (good)."""
    one, two = ("(good)" in text for text in fenced(call)[-2:])
    return "VERDICT: tie" if one == two else f"VERDICT: {'A' if one else 'B'}"


def liar(call: Call) -> str:
    """A pairwise judge that is always wrong."""
    return {"VERDICT: A": "VERDICT: B", "VERDICT: B": "VERDICT: A"}.get(fair(call), "VERDICT: A")


def speaks_json(call: Call) -> str:
    """A fair judge that writes what the schema of the request asks for."""
    keys = call.body["response_format"]["json_schema"]["schema"]["required"]
    return json.dumps(dict(zip(keys, ["the other one says VERDICT: B", fair(call).removeprefix("VERDICT: ")], strict=True)))


class ChatServer:
    """POST /v1/chat/completions on a free port of 127.0.0.1, from `with` to its end."""

    def __init__(
        self,
        fault: Callable[[Call], Fault | None] = lambda call: None,
        answer: Callable[[Call], str] = echo,
        key: str = "",
        certificate: str = "",  # path of a PEM file with its key: the server then speaks TLS
    ) -> None:
        self.fault, self.answer, self.key, self.certificate = fault, answer, key, certificate
        self.calls: list[Call] = []
        self.billed = 0  # completions made, whether or not they arrived
        self.in_flight = self.most_in_flight = self.connections = 0
        self.closed = threading.Event()
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self._http = _Http(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_state": self}))
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self._http.server_port}/v1"

    def endpoint(self, **settings: object) -> Endpoint:
        """A profile's endpoint that leads here."""
        return Endpoint(**{"kind": "openai", "url": self.url, "model": MODEL, "timeout_seconds": 5, "attempts": 3} | settings)

    def begin(self, body: dict, headers: dict[str, str]) -> Call:
        """Count a call in."""
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            attempt = sum(call.prompt == prompt for call in self.calls)
            self.calls.append(Call(len(self.calls), attempt, prompt, body, headers))
            return self.calls[-1]

    def complete(self, call: Call) -> str:
        """The body of a completion, billed."""
        with self.lock:
            self.billed += 1
        text = self.answer(call)
        usage = {"prompt_tokens": sum(len(m["content"].split()) for m in call.body["messages"]), "completion_tokens": len(text.split())}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps(
            {"id": f"chatcmpl-{call.number}", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}
        )


class _Http(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False  # a hanging handler must not hold a test up

    def handle_error(self, request: object, address: object) -> None:
        """A client that gave up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: ChatServer

    def setup(self) -> None:
        super().setup()
        with self.server_state.lock:
            self.server_state.connections += 1

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        server = self.server_state
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            return self._error(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")
        body = json.loads(raw)
        if self.path != "/v1/chat/completions" or body.get("model") != MODEL:
            return self._error(404, f"The model {body.get('model')} does not exist at {self.path}")
        if (
            not isinstance(body.get("messages"), list)
            or not isinstance(body.get("max_tokens"), int)
            or "" in [m["content"] for m in body["messages"][-1:]]
        ):
            return self._error(400, "messages and max_tokens are required, and the last message must not be empty")
        call = server.begin(body, dict(self.headers))
        try:
            self._answer(call, server.fault(call))
        finally:
            with server.lock:
                server.in_flight -= 1

    def _answer(self, call: Call, fault: Fault | None) -> None:
        server = self.server_state
        if fault is None:
            return self._send(200, server.complete(call))
        if fault.kind == "status":
            return self._error(fault.status, "try later", {"Retry-After": fault.retry_after} if fault.retry_after else {})
        if fault.kind == "redirect":
            return self._send(307, "", {"Location": f"{server.url}/elsewhere"})
        if fault.kind == "hang":
            server.closed.wait(60)
            self.close_connection = True
            return None
        body = server.complete(call)
        if fault.kind == "slow":
            server.closed.wait(fault.seconds)
            return self._send(200, body)
        if fault.kind == "body":
            return self._send(200, fault.body)
        return self._spoil(body.encode(), fault)

    def _spoil(self, body: bytes, fault: Fault) -> None:
        """Promise the whole body; cut sends half of it, drip a byte at a time."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        if fault.kind == "cut":
            self.wfile.write(body[: len(body) // 2])
            return
        for place in range(len(body)):
            self.wfile.write(body[place : place + 1])
            self.wfile.flush()
            if self.server_state.closed.wait(fault.seconds):
                return

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps({"error": {"message": message, "type": "error", "code": status}}), headers)

    def _send(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body.encode()))}.items():
            self.send_header(name, value)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())
