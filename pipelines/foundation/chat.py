"""The protocol of /chat/completions: the body of a request, and everything that an OpenAI-compatible server may answer.

What a server writes is hostile: it is bounded in size, its counts must be possible, an answer that was asked for by a
schema is held against it, and an error is quoted short and without control characters.
"""

import json
import math
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.errors import UserError
from pipelines.foundation.messages import Reply, Request, Usage
from pipelines.foundation.retries import Failure, milliseconds, retry_after
from pipelines.sections import Endpoint

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

LONGEST_BODY = 8_000_000  # bytes of an answer
MOST_TOKENS = 1_000_000_000  # of a prompt: a count above it is no count
AGAIN = (408, 409, 425, 429)  # and every 5xx: another try may succeed
SCHEMA = (400, 422)  # a server that does not know response_format
SETTINGS = (401, 403, 404)  # wrong key, model or address: the same for every request


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


def secret(endpoint: Endpoint) -> str:
    """The API key, from the environment variable that the endpoint names and from nowhere else; empty where it names none.

    Raises UserError where the variable holds no key.
    """
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


def structured(schema: dict) -> dict:
    """The part of a request body that holds the answer to a JSON schema (OpenAI's structured outputs; vLLM and llama.cpp take it too)."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}}


def body(endpoint: Endpoint, request: Request) -> dict:
    """What is sent for a request."""
    asked = {
        "model": endpoint.model,
        "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.prompt}],
        "max_tokens": request.max_new_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
    }
    if endpoint.logprobs:
        asked["logprobs"] = True
    if endpoint.structured and request.schema is not None:
        asked |= structured(request.schema)
    return asked


def refusal(status: int, headers: Mapping[str, str], content: bytes, schema: bool) -> Failure:
    """What a status other than 200 means; `schema`: one was sent."""
    reason = f"HTTP {status}, the server says: {excerpt(content)}"
    if schema and status in SCHEMA:
        reason += " (response_format json_schema was sent: set structured to false in the profile where the server does not take it)"
    if status in AGAIN or status >= 500:
        asked = milliseconds(headers.get("retry-after-ms"))
        wait = retry_after(headers.get("Retry-After")) if asked is None else asked
        word = "rate_limited" if status == 429 else "server_error"
        # It may have happened after the work was done.
        return Failure(word, reason, wait=wait, unsure=status >= 500)
    if status in SETTINGS:
        return Failure("denied", reason, again=False)
    return Failure("refused", reason, again=False, server=status < 400)


def reply(endpoint: Endpoint, request: Request, content: bytes) -> Reply:
    """What a completion says; raises Failure where the server did not keep to the protocol.

    A reply without text, or against its schema, is an answer all the same: asked again, the model would be paid again.
    """
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        raise _malformed(f"the answer is not JSON: {excerpt(content)}") from None
    try:
        choice = said["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise _malformed(f"the answer holds no choices[0].message.content: {excerpt(content)}") from None
    if text is not None and not isinstance(text, str):
        raise _malformed(f"choices[0].message.content is {type(text).__name__}, not text")
    told = said.get("usage")
    usage = _usage(told, request.max_new_tokens)
    if usage is None and told is not None and endpoint.idempotent:
        raise _malformed(f"the counts cannot be: {excerpt(json.dumps(told).encode())}")
    if text is None:
        return Reply(None, "no_text: the model wrote no text (it refused, or only reasoned)", usage)
    if endpoint.structured and request.schema is not None and (wrong := _mismatch(request.schema, text)):
        end = ", cut at max_tokens" if choice.get("finish_reason") == "length" else ""
        return Reply(None, f"wrong_schema: the answer{end} {wrong}", usage)
    return Reply(writable(text), None, usage, _logprobs(choice) if endpoint.logprobs else None)


def excerpt(content: bytes) -> str:
    """The beginning, on one line, without control characters."""
    line = " ".join(content[:1_000].decode(errors="replace").split())[:300]
    return "".join(letter if letter.isprintable() else "?" for letter in line) or "nothing"


def _malformed(reason: str) -> Failure:
    return Failure("malformed", reason, unsure=True)


def _usage(told: object, most: int) -> Usage | None:
    """Counts that can be: whole, not negative, no more written than was allowed, and a total that is the sum."""
    if not isinstance(told, dict):
        return None
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    usage = Usage(told.get("prompt_tokens"), told.get("completion_tokens"), 0 if cached is None else cached)
    if any(type(count) is not int or count < 0 for count in usage):
        return None
    total = told.get("total_tokens")
    possible = usage.cached <= usage.prompt <= MOST_TOKENS and usage.completion <= most
    return usage if possible and total in (None, usage.prompt + usage.completion) else None


def _logprobs(choice: dict) -> tuple[float, ...] | None:
    """One number a token; None where the server does not say, or says something that cannot be."""
    try:
        found = [token["logprob"] for token in choice["logprobs"]["content"]]
    except (KeyError, TypeError):
        return None
    sound = all(type(number) in (int, float) and math.isfinite(number) and number <= 0 for number in found)
    return tuple(float(number) for number in found) if sound else None


def _mismatch(schema: dict, text: str) -> str:
    """How an answer differs from its schema, empty where it does not."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return f"is not JSON: {excerpt(text.encode(errors='replace'))}"
    error = next(_validator(json.dumps(schema, sort_keys=True)).iter_errors(said), None)
    return f"does not fit its schema: {excerpt(error.message.encode(errors='replace'))}" if error else ""


@lru_cache(maxsize=64)
def _validator(schema: str) -> "Validator":
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(json.loads(schema), registry=Registry())  # of its own: no $ref is fetched from anywhere
