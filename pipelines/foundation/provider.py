"""The files and batches of an OpenAI-compatible server over HTTP: what `chat` is for one completion.

What a server says is hostile here too: bounded in size and time, its ids are quoted into addresses, and the API key is
struck out of what it repeats. Every call but the one that creates a batch may be repeated, and is, with patience.
"""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import quote

from pipelines.foundation import chat
from pipelines.foundation.connections import received
from pipelines.foundation.retries import Circuit, Failure, persist
from pipelines.sections import Endpoint

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

LONGEST_FILE = 4_000_000_000  # bytes of answers
DOWNLOAD_SECONDS = 3_600
PAGES = 50  # of 100 batches each, newest first
CHUNK = 1 << 20
T = TypeVar("T")


class Gone(Failure):
    """The server knows nothing under this address."""


class Provider:
    """Connections to the batch side of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises UserError where the endpoint names a key that is not there."""
        import requests

        self.endpoint = endpoint
        self._key = key = chat.secret(endpoint)
        self._session = requests.Session()

        def sign(request: "PreparedRequest") -> "PreparedRequest":
            if key:
                request.headers["Authorization"] = f"Bearer {key}"
            return request

        self._session.auth = sign  # a callable, so that a .netrc entry for the host does not replace the key

    def patiently(self, work: Callable[[], T]) -> T:
        """`work`, tried as often as the endpoint allows; raises the last Failure."""
        return persist(work, self.endpoint.attempts, Circuit(1))

    def upload(self, body: IO[bytes], boundary: str) -> str:
        """Send a multipart body to /files, streamed from where it begins; returns the file's id."""

        def send() -> str:
            body.seek(0)
            said = self._json("POST", "/files", data=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
            return text(said, "id")

        return self.patiently(send)

    def create(self, asked: dict) -> dict:
        """Create a batch, tried once: a try that brought no answer may have created it all the same."""
        said = self._json("POST", "/batches", json=asked)
        text(said, "id")
        return said

    def listed(self, since: float) -> Iterator[dict]:
        """Batches that were created after `since` (Unix time), newest first."""
        after = ""
        for _ in range(PAGES):
            params = {"limit": 100} | ({"after": after} if after else {})
            said = self.patiently(partial(self._json, "GET", "/batches", params=params))
            found = said.get("data")
            if not isinstance(found, list):
                raise Failure("malformed", "the list of batches holds no data")
            batches = [batch for batch in found if isinstance(batch, dict)]
            recent = [batch for batch in batches if not isinstance(batch.get("created_at"), int) or batch["created_at"] >= since]
            yield from recent
            last = batches[-1].get("id") if batches else None
            if said.get("has_more") is not True or len(recent) < len(batches) or not isinstance(last, str) or last == after:
                return
            after = last

    def look(self, batch: str) -> dict:
        """One batch as it stands, tried once; raises Gone where the server never had it."""
        said = self._json("GET", f"/batches/{quote(batch, safe='')}")
        text(said, "status")
        return said

    def cancel(self, batch: str) -> None:
        """Ask for a batch to be stopped; raises Failure where that is refused."""
        self.patiently(lambda: self._json("POST", f"/batches/{quote(batch, safe='')}/cancel"))

    def download(self, file: str, into: IO[bytes]) -> None:
        """Write a file's content into another one, from its beginning; raises Gone where the server has deleted it."""

        def fetch() -> None:
            into.seek(0)
            into.truncate()
            deadline = time.monotonic() + DOWNLOAD_SECONDS
            self._exchange("GET", f"/files/{quote(file, safe='')}/content", lambda response: _copy(response, into, deadline))

        self.patiently(fetch)
        into.seek(0)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _json(self, method: str, path: str, **sent: object) -> dict:
        deadline = time.monotonic() + DOWNLOAD_SECONDS
        content = self._exchange(method, path, lambda response: received(response.raw, deadline), **sent)
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Failure("malformed", f"{method} {path} was not answered in JSON: {chat.excerpt(self.strike(content))}")
        return said

    def _exchange(self, method: str, path: str, read: "Callable[[Response], T]", **sent: object) -> T:
        """One request; `read` takes the body of a good answer. Raises Failure for everything else."""
        import requests
        import urllib3

        endpoint, url = self.endpoint, f"{self.endpoint.url.rstrip('/')}{path}"
        try:
            # No redirects: the key would travel to an address that nobody named.
            answer = self._session.request(method, url, timeout=endpoint.timeout_seconds, stream=True, allow_redirects=False, **sent)
            with answer as response:
                if response.status_code == 200:
                    return read(response)
                content = self.strike(received(response.raw, time.monotonic() + endpoint.timeout_seconds))
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise Failure("timeout", f"{method} {path}: no answer within {endpoint.timeout_seconds:g} s") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise Failure("bad_url", f"{chat.name(endpoint)} is no address: it begins with http:// or https://", again=False) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = f"{chat.name(endpoint)} is not there, or it cut the connection ({type(error).__name__})"
            raise Failure("connection", reason) from None
        failure = chat.refusal(response.status_code, response.headers, content, schema=False)
        raise Gone(failure.word, f"{method} {path}: {failure}", again=False) if response.status_code == 404 else failure

    def strike(self, content: bytes) -> bytes:
        """What a server wrote, without our key."""
        return content.replace(self._key.encode(), b"[key]") if self._key else content


def text(said: dict, key: str) -> str:
    """A word that the protocol promises; raises Failure where it is not there."""
    found = said.get(key)
    if not isinstance(found, str) or not found:
        raise Failure("malformed", f"the answer holds no {key}")
    return found


def _copy(response: "Response", into: IO[bytes], deadline: float) -> None:
    size = 0
    while part := response.raw.read1(CHUNK, decode_content=True):
        size += len(part)
        if time.monotonic() > deadline:
            raise Failure("timeout", f"the file did not come within {DOWNLOAD_SECONDS:,} s")
        if size > LONGEST_FILE:
            raise Failure("malformed", f"the file is longer than {LONGEST_FILE:,} bytes", again=False)
        into.write(part)
