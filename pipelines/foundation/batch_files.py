"""The two files of a provider batch, JSON a line: the questions that go out, and the answers that come back in any order."""

import json
from collections.abc import Iterator, Mapping
from typing import IO

from pipelines.foundation import chat
from pipelines.foundation.messages import Answered, Call, Reply, Request
from pipelines.foundation.retries import Failure
from pipelines.sections import Endpoint

LONGEST_LINE = chat.LONGEST_BODY


def question(endpoint: Endpoint, call: Call) -> bytes:
    """The line of one call."""
    line = {"custom_id": call.key, "method": "POST", "url": "/v1/chat/completions", "body": chat.body(endpoint, call.request)}
    return json.dumps(line).encode() + b"\n"


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines that hold something; one that is too long is skipped to its end and comes as nothing."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield b""
        elif line.strip():
            yield line


def answer(endpoint: Endpoint, requests: Mapping[str, Request], line: bytes) -> Answered | None:
    """One line of an answer file; None where it is none, or is for none of the requests by key."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key = said.get("custom_id") if isinstance(said, dict) else None
    if not isinstance(key, str) or key not in requests:
        return None
    response, error = said.get("response"), said.get("error")
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        return Answered(key, _reply(endpoint, requests[key], response["status_code"], json.dumps(response.get("body")).encode()))
    found = error if isinstance(error, dict) else {}
    reason = " ".join(str(found[part]) for part in ("code", "message") if found.get(part))
    return Answered(key, Reply(None, f"batch_failed: {chat.excerpt(reason.encode())}"))


def _reply(endpoint: Endpoint, request: Request, status: int, content: bytes) -> Reply:
    """What one answer of a server means, as in chat; a line that is an error is not billed."""
    try:
        if status != 200:
            raise chat.refusal(status, {}, content, endpoint.structured and request.schema is not None)
        return chat.reply(endpoint, request, content)
    except Failure as failure:
        return Reply(None, str(failure), unsure=int(status == 200))
