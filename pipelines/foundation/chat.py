"""One exchange with an OpenAI-compatible server: a POST to /chat/completions, and everything that may come back.

The API key is read here, from the environment variable that the endpoint names, and from nowhere else. What a server
writes is hostile: it is bounded in size and in time, and the key is struck out of it before anybody sees it.
"""

import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pipelines.errors import UserError
from pipelines.foundation.retries import Failure, retry_after
from pipelines.sections import Endpoint

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

LONGEST_BODY = 8_000_000  # bytes of an answer
AGAIN = (408, 409, 425, 429)  # and every 5xx: another try may succeed
SCHEMA = (400, 422)  # a server that does not know response_format
SETTINGS = (401, 403, 404)  # wrong key, model or address: the same for every request


class Written(NamedTuple):
    """What a model wrote; the counts are 0 where the server does not say."""

    text: str
    prompt_tokens: int
    completion_tokens: int


def name(endpoint: Endpoint) -> str:
    """The endpoint as a log line may show it: a URL may carry a password."""
    try:
        parts = urlsplit(endpoint.url)
    except ValueError:
        return f"{endpoint.model} at an unreadable URL"
    return f"{endpoint.model} at {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def writable(text: str) -> str:
    """JSON may hold half a surrogate pair, which no table can store and no tokenizer reads."""
    return text.encode("utf-8", "replace").decode()


def structured(schema: dict) -> dict:
    """The part of a request body that holds the answer to a JSON schema (OpenAI's structured outputs; vLLM and llama.cpp take it too)."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}}


class Server:
    """Connections to one endpoint, for `endpoint.in_flight` threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises UserError where the endpoint names a key that is not there."""
        import requests

        self.endpoint = endpoint
        self._key = key = _key(endpoint)
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=endpoint.in_flight)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

        def sign(request: "PreparedRequest") -> "PreparedRequest":
            if key:
                request.headers["Authorization"] = f"Bearer {key}"
            return request

        # A callable, so that a .netrc entry for the host does not replace the key.
        self._session.auth = sign

    def complete(self, body: dict) -> Written:
        """The completion of one request body, tried once; raises Failure."""
        import requests
        import urllib3

        endpoint = self.endpoint
        url = f"{endpoint.url.rstrip('/')}/chat/completions"
        deadline = time.monotonic() + endpoint.timeout_seconds
        try:
            # No redirects: a POST would turn into a GET, and the key would travel to an address that nobody named.
            sent = self._session.post(url, json=body, timeout=endpoint.timeout_seconds, stream=True, allow_redirects=False)
            with sent as response:
                content = _body(response, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise Failure("timeout", f"no answer within {endpoint.timeout_seconds:g} s") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise Failure("bad_url", f"{name(endpoint)} is no address: it begins with http:// or https://", again=False) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = f"{name(endpoint)} is not there, or it cut the connection ({type(error).__name__})"
            raise Failure("connection", reason) from None
        if self._key:
            content = content.replace(self._key.encode(), b"[key]")  # servers repeat a wrong key in their error
        if response.status_code != 200:
            raise _refusal(response, content, "response_format" in body)
        return _parse(content)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()


def _key(endpoint: Endpoint) -> str:
    if not endpoint.key_env:
        return ""
    key = os.environ.get(endpoint.key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        wrong = "holds characters that no API key has" if key else "is not set"
        raise UserError(
            f"the environment variable {endpoint.key_env} {wrong}: key_env of the profile's endpoint {name(endpoint)} names it; "
            "put the API key there, or leave key_env empty for a server that asks for none"
        )
    return key


def _body(response: "Response", deadline: float) -> bytes:
    """The body, read as it comes: the socket's own timeout starts again with every byte."""
    import requests

    parts, size = [], 0
    while part := response.raw.read1(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise requests.Timeout
        if size > LONGEST_BODY:
            raise Failure("malformed", f"the answer is longer than {LONGEST_BODY:,} bytes")
    return b"".join(parts)


def _refusal(response: "Response", content: bytes, structured: bool) -> Failure:
    """What a status other than 200 means."""
    status = response.status_code
    reason = f"HTTP {status}, the server says: {_excerpt(content)}"
    if structured and status in SCHEMA:
        reason += " (response_format json_schema was sent: set structured to false in the profile where the server does not take it)"
    if status in AGAIN or status >= 500:
        word = "rate_limited" if status == 429 else "server_error"
        return Failure(word, reason, wait=retry_after(response.headers.get("Retry-After")))
    return Failure("refused", reason, again=False, server=status in SETTINGS or status < 400)


def _parse(content: bytes) -> Written:
    """A completion; raises Failure where the server did not keep to the protocol."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        raise Failure("malformed", f"the answer is not JSON: {_excerpt(content)}") from None
    try:
        text = said["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise Failure("malformed", f"the answer holds no choices[0].message.content: {_excerpt(content)}") from None
    if text is None:
        raise Failure("no_text", "the model wrote no text (it refused, or only reasoned)", again=False, server=False)
    if not isinstance(text, str):
        raise Failure("malformed", f"choices[0].message.content is {type(text).__name__}, not text")
    usage = said.get("usage")
    return Written(writable(text), _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _count(usage: object, key: str) -> int:
    found = usage.get(key) if isinstance(usage, dict) else None
    return found if type(found) is int and found >= 0 else 0


def _excerpt(content: bytes) -> str:
    """The beginning, on one line, without control characters."""
    line = " ".join(content[:1_000].decode(errors="replace").split())[:300]
    return "".join(letter if letter.isprintable() else "?" for letter in line) or "nothing"
