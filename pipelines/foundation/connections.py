"""Connections to one server: a POST to its /chat/completions and the bytes that come back, bounded in size and in time.

One pooled `requests` session. What `requests` works out anew for every call (the environment's proxies and certificates,
the headers, the address) is worked out once, and each call is handed to the session's connection pool directly: half the
processor's time, so that 128 calls in flight keep to what the server could do.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from pipelines.foundation import chat
from pipelines.foundation.retries import Failure
from pipelines.sections import Endpoint

if TYPE_CHECKING:
    from requests import PreparedRequest
    from urllib3.connection import HTTPConnection
    from urllib3.response import BaseHTTPResponse

log = logging.getLogger("pipelines.connections")


class Answer(NamedTuple):
    """What came back over the wire."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """Connections to one endpoint's /chat/completions, as many as there are threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises UserError where the endpoint names a key that is not there."""
        import requests
        from urllib3 import Retry

        self._endpoint, self._key = endpoint, chat.secret(endpoint)
        self._once = Retry(False)  # one try, and its own error
        self._made: WeakSet[HTTPConnection] = WeakSet()
        self._lock = threading.Lock()
        self._session, adapter = requests.Session(), requests.adapters.HTTPAdapter(pool_maxsize=endpoint.in_flight)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

        def sign(request: "PreparedRequest") -> "PreparedRequest":
            if self._key:
                request.headers["Authorization"] = f"Bearer {self._key}"
            return request

        # Signed by a callable, so that a .netrc entry for the host does not replace the key.
        asked = requests.Request("POST", f"{endpoint.url.rstrip('/')}/chat/completions", json={}, auth=sign)
        self._pool = None
        try:
            prepared = self._session.prepare_request(asked)
            around = self._session.merge_environment_settings(prepared.url, {}, True, None, None)
            self._session.get_adapter(prepared.url)
            self._pool = adapter.get_connection_with_tls_context(prepared, around["verify"], around["proxies"], around["cert"])
            adapter.cert_verify(self._pool, prepared.url, around["verify"], around["cert"])
            self._path = adapter.request_url(prepared, around["proxies"])
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            return
        self._headers = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
        self._connect, self._pool.ConnectionCls = self._pool.ConnectionCls, self._open

    def post(self, body: bytes, key: str, seconds: float) -> Answer:
        """Send one request, once; `key`: the same for each try of a call, by which a server knows it again. Raises Failure."""
        from urllib3 import exceptions as wrong

        if self._pool is None:
            raise Failure("bad_url", f"{chat.name(self._endpoint)} is no address: it begins with http:// or https://", again=False)
        deadline = time.monotonic() + seconds
        late = f"no answer within {seconds:g} s"
        try:
            # No redirects: a POST would turn into a GET, and the key would travel to an address that nobody named.
            with self._pool.urlopen(
                "POST",
                self._path,
                body,
                self._headers | {"Idempotency-Key": key},
                retries=self._once,
                redirect=False,
                assert_same_host=False,
                timeout=seconds,
                preload_content=False,
            ) as response:
                content = received(response, deadline)
        except wrong.LocationValueError:
            raise Failure("bad_url", f"{chat.name(self._endpoint)} is no address", again=False) from None
        except (wrong.NewConnectionError, wrong.ProxyError) as error:
            raise Failure("connection", f"{chat.name(self._endpoint)} is not there ({type(error).__name__})") from None
        except wrong.SSLError as error:
            refused = isinstance(error.args[0], ssl.SSLCertVerificationError)
            reason = f"{chat.name(self._endpoint)} {'shows a certificate that nobody vouches for' if refused else 'cut the connection'}"
            raise Failure("connection", f"{reason} ({chat.excerpt(str(error).encode())})", unsure=not refused) from None
        except wrong.ConnectTimeoutError:
            raise Failure("timeout", late) from None
        except wrong.TimeoutError:
            raise Failure("timeout", late, unsure=True) from None
        except wrong.HTTPError as error:
            raise Failure("connection", f"{chat.name(self._endpoint)} cut the connection ({type(error).__name__})", unsure=True) from None
        if self._key:
            content = content.replace(self._key.encode(), b"[key]")  # servers repeat a wrong key in their error
        return Answer(response.status, response.headers, content)

    def cut(self) -> None:
        """End what is under way: whoever waits for an answer is told at once that there is none."""
        with self._lock:
            made = list(self._made)
        for connection in made:
            if (wire := connection.sock) is not None:
                try:
                    socket.socket.shutdown(wire, socket.SHUT_RDWR)
                except OSError:
                    log.debug("a connection was closed already")

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _open(self, *where: object, **how: object) -> "HTTPConnection":
        connection = self._connect(*where, **how)
        with self._lock:
            self._made.add(connection)
        return connection


def received(response: "BaseHTTPResponse", deadline: float) -> bytes:
    """The body, read as it comes: the socket's own timeout starts again with every byte. Raises Failure."""
    parts, size = [], 0
    while part := response.read1(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise Failure("timeout", "the answer came too slowly", unsure=True)
        if size > chat.LONGEST_BODY:
            raise Failure("malformed", f"the answer is longer than {chat.LONGEST_BODY:,} bytes", unsure=True)
    return b"".join(parts)
