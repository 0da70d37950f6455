"""A local server of files and batches as OpenAI's: real sockets on 127.0.0.1, no model behind it.

with BatchServer(polls=2) as server:
    batch = batches.submit(server.endpoint(), store, calls)
assert server.billed == {call.key for call in calls}

A batch goes on with every look at it: `polls` looks each are validating, in_progress and finalizing.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pipelines.sections import Endpoint

MODEL = "test-model"
KEY_ENV = "NIGHTSHIFT_TEST_KEY"
RUNNING = ("validating", "in_progress", "finalizing")


class Seen(NamedTuple):
    """One HTTP call."""

    number: int  # from 0, over the calls with this method and path pattern
    what: str  # POST files, POST batches, GET batches, GET batch, GET content, POST cancel
    headers: dict[str, str]


class Fault(NamedTuple):
    """What goes wrong with one HTTP call. `after`: the work is done all the same, only its answer is spoilt."""

    status: int = 500
    after: bool = False
    retry_after: str = ""
    hang: bool = False  # no answer; the client's time runs out
    cut: bool = False  # half of the answer


def never(seen: Seen) -> Fault | None:
    """No fault."""
    return None


def once(what: str, fault: Fault, count: int = 1) -> Callable[[Seen], Fault | None]:
    """The fault on the first calls of one kind."""
    return lambda seen: fault if seen.what == what and seen.number < count else None


class BatchServer:
    """POST /v1/files and so on, on a free port of 127.0.0.1, from `with` to its end."""

    def __init__(
        self,
        polls: int = 1,
        end: str = "completed",  # or failed (validation), expired (half of it), cancelled
        fault: Callable[[Seen], Fault | None] = never,
        spoil: Callable[[list[str]], list[str]] = list,  # changes the lines of the output file
        status: Callable[[str], int] = lambda prompt: 200,  # of the answer to one question
        key: str = "",
    ) -> None:
        self.polls, self.end, self.fault, self.spoil, self.status, self.key = polls, end, fault, spoil, status, key
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}  # in the order of creation
        self.looks: dict[str, int] = {}
        self.billed: dict[str, float] = {}  # custom_id to half prices paid: 0.5 a question once
        self.seen: list[Seen] = []
        self.uploads: list[str] = []  # content types
        self.closed = threading.Event()
        self.lock = threading.RLock()

    def __enter__(self) -> Self:
        self._http = _Http(("127.0.0.1", 0), type("Handler", (_Handler,), {"house": self}))
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def settings(self, **changes: object) -> dict:
        """A profile's endpoint that leads here, as YAML would hold it."""
        own = {"kind": "openai", "url": self.url, "model": MODEL, "timeout_seconds": 5, "attempts": 4, "batch": True}
        return own | ({"key_env": KEY_ENV} if self.key else {}) | changes

    def endpoint(self, **changes: object) -> Endpoint:
        """The same, checked."""
        return Endpoint(**self.settings(**changes))

    def count(self, what: str) -> int:
        """HTTP calls of one kind."""
        return sum(seen.what == what for seen in self.seen)

    def living(self) -> list[str]:
        """Batches that were not cancelled."""
        return [name for name, batch in self.batches.items() if batch["status"] not in ("cancelling", "cancelled")]

    def note(self, what: str, headers: dict[str, str]) -> Seen:
        """Count a call in."""
        with self.lock:
            self.seen.append(Seen(self.count(what), what, headers))
            return self.seen[-1]

    def keep(self, content: bytes) -> dict:
        """A new file."""
        with self.lock:
            name = f"file-{len(self.files)}"
            self.files[name] = content
        return {"id": name, "object": "file", "purpose": "batch", "bytes": len(content), "filename": "nightshift.jsonl"}

    def create(self, asked: dict) -> dict:
        """A new batch, validating."""
        with self.lock:
            name = f"batch_{len(self.batches)}"
            total = self.files[asked["input_file_id"]].count(b"\n")
            self.batches[name] = {
                "id": name,
                "object": "batch",
                "status": "validating",
                "created_at": int(time.time()),
                "output_file_id": None,
                "error_file_id": None,
                "errors": None,
                "request_counts": {"total": total, "completed": 0, "failed": 0},
            } | asked
            return self.batches[name]

    def step(self, name: str) -> dict:
        """One look, which moves the batch on."""
        with self.lock:
            batch = self.batches[name]
            looks = self.looks[name] = self.looks.get(name, 0) + 1
            if batch["status"] in RUNNING:
                place = (looks - 1) // self.polls if self.polls else len(RUNNING)
                batch["status"] = RUNNING[place] if place < len(RUNNING) else self.end
                if batch["status"] == self.end:
                    self._finish(batch)
            elif batch["status"] == "cancelling":
                batch["status"] = "cancelled"
            return batch

    def _finish(self, batch: dict) -> None:
        if self.end == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "invalid_request", "message": "line 1 is no request", "line": 1}]}
            return
        questions = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        done = questions if self.end == "completed" else questions[: len(questions) // 2]
        good, bad = [], []
        for asked in done:
            status = self.status(asked["body"]["messages"][-1]["content"])
            line = {"id": f"batch_req_{asked['custom_id']}", "custom_id": asked["custom_id"], "error": None}
            line["response"] = {"status_code": status, "request_id": "r", "body": _completion(asked["body"]) if status == 200 else _error()}
            (good if status == 200 else bad).append(json.dumps(line))
            if status == 200:
                self.billed[asked["custom_id"]] = self.billed.get(asked["custom_id"], 0) + 0.5
        if self.end == "expired":
            error = {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."}
            bad += [json.dumps({"custom_id": asked["custom_id"], "response": None, "error": error}) for asked in questions[len(done) :]]
        good.reverse()  # the order is not the questions'
        for key, lines in (("output_file_id", self.spoil(good)), ("error_file_id", bad)):
            if lines:
                batch[key] = self.keep(("\n".join(lines) + "\n").encode())["id"]
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}


def _completion(body: dict) -> dict:
    words = len(body["messages"][-1]["content"].split())
    message = {"role": "assistant", "content": f"re: {body['messages'][-1]['content']}"}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": words, "completion_tokens": words + 1},
    }


def _error() -> dict:
    return {"error": {"message": "this question is refused", "type": "invalid_request_error", "code": None}}


class _Http(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, address: object) -> None:
        """A client that gave up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    house: BatchServer

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if path == "/v1/files":
            self._serve("POST files", lambda: self._upload(content))
        elif path == "/v1/batches":
            self._serve("POST batches", lambda: self._create(json.loads(content)))
        elif found := re.fullmatch(r"/v1/batches/([^/]+)/cancel", path):
            self._serve("POST cancel", lambda: self._cancel(unquote(found[1])))
        else:
            self._send(404, {"error": {"message": f"no such path {path}"}})

    def do_GET(self) -> None:
        house, split = self.house, urlsplit(self.path)
        if split.path == "/v1/batches":
            self._serve("GET batches", lambda: self._list(parse_qs(split.query)))
        elif found := re.fullmatch(r"/v1/batches/([^/]+)", split.path):
            name = unquote(found[1])
            self._serve("GET batch", lambda: (200, house.step(name)) if name in house.batches else (404, _error()))
        elif found := re.fullmatch(r"/v1/files/([^/]+)/content", split.path):
            name = unquote(found[1])
            self._serve("GET content", lambda: (200, house.files[name]) if name in house.files else (404, _error()))
        else:
            self._send(404, {"error": {"message": f"no such path {split.path}"}})

    def _upload(self, content: bytes) -> tuple[int, object]:
        boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", self.headers["Content-Type"])
        if boundary is None:
            return 400, {"error": {"message": "not multipart"}}
        fields = {}
        for part in content.split(f"--{boundary[1]}".encode())[1:-1]:
            head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            fields[re.search(rb'name="(\w+)"', head)[1].decode()] = body.removesuffix(b"\r\n")
        if fields.get("purpose") != b"batch" or "file" not in fields:
            return 400, {"error": {"message": "purpose and file are required"}}
        return 200, self.house.keep(fields["file"])

    def _create(self, asked: dict) -> tuple[int, object]:
        if asked.get("input_file_id") not in self.house.files or asked.get("endpoint") != "/v1/chat/completions":
            return 400, {"error": {"message": "input_file_id and endpoint are required"}}
        if not re.fullmatch(r"\d+h", asked.get("completion_window", "")):
            return 400, {"error": {"message": "completion_window is required"}}
        return 200, self.house.create(asked)

    def _cancel(self, name: str) -> tuple[int, object]:
        with self.house.lock:
            self.house.batches[name]["status"] = "cancelling"
        return 200, self.house.batches[name]

    def _list(self, query: dict[str, list[str]]) -> tuple[int, object]:
        """Newest first, at most `limit`, after a given one."""
        with self.house.lock:
            names = list(reversed(self.house.batches))
        after, limit = query.get("after", [""])[0], min(int(query.get("limit", ["20"])[0]), 100)
        names = names[names.index(after) + 1 :] if after else names
        page = [self.house.batches[name] for name in names[:limit]]
        return 200, {"object": "list", "data": page, "last_id": page[-1]["id"] if page else None, "has_more": len(names) > limit}

    def _serve(self, what: str, work: Callable[[], tuple[int, object]]) -> None:
        house = self.house
        seen = house.note(what, dict(self.headers))
        if house.key and self.headers.get("Authorization") != f"Bearer {house.key}":
            return self._send(401, {"error": {"message": f"wrong key: {self.headers.get('Authorization')}"}})
        fault = house.fault(seen)
        if fault is None:
            return self._send(*work())
        if fault.after:
            work()
        if fault.hang:
            house.closed.wait(60)
            self.close_connection = True
            return None
        if fault.cut:
            return self._send(*work(), cut=True)
        return self._send(fault.status, {"error": {"message": "try later"}}, retry_after=fault.retry_after)

    def _send(self, status: int, body: object, retry_after: str = "", cut: bool = False) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut
