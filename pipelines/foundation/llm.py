"""The one door to any model: the embedded one, or any OpenAI-compatible server (vLLM, llama.cpp, a hosted API).

`ask` answers every request in order: with a text, or with an error word and its reason. One bad request never loses
the others, and a server that is gone is given up soon, not after every request has waited for it.
"""

import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pipelines.foundation import chat
from pipelines.foundation.retries import Circuit, Failure, persist
from pipelines.sections import Endpoint

FAILURES = 5  # requests in a row, after which a server is given up; more where more are in flight at one bad moment
log = logging.getLogger("pipelines.llm")


class Request(NamedTuple):
    """One question."""

    system: str
    prompt: str
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0
    choices: tuple[str, ...] | None = None  # the embedded model answers with one of them; a server writes what it likes
    schema: dict | None = None  # JSON schema of the answer, sent to an endpoint that is declared structured


class Reply(NamedTuple):
    """A text, or the reason why there is none as `word: reason`.

    The words: timeout, connection, rate_limited, server_error, malformed, refused, no_text, bad_url, circuit_open, too_long.
    """

    text: str | None
    error: str | None
    prompt_tokens: int  # 0 where the server does not say
    completion_tokens: int


def ask(endpoint: Endpoint, home: Path, requests: list[Request]) -> list[Reply]:
    """One reply a request, in the same order; `home` is the folder that keeps the embedded model.

    Raises UserError only where the endpoint names an API key that is not there. A try that timed out or was cut may
    have been answered, and billed, by the server all the same.
    """
    if not requests:
        return []
    started = time.perf_counter()
    replies = _ask_server(endpoint, requests) if endpoint.kind == "openai" else _ask_embedded(home, requests)
    words = Counter(reply.error.partition(":")[0] for reply in replies if reply.error)
    errors = ", ".join(f"{word} {count}" for word, count in words.most_common()) or "none"
    log.info("%d requests to the %s endpoint in %.1f s, errors: %s", len(requests), endpoint.kind, time.perf_counter() - started, errors)
    return replies


def _ask_server(endpoint: Endpoint, requests: list[Request]) -> list[Reply]:
    circuit = Circuit(max(FAILURES, endpoint.in_flight))

    def answer(request: Request) -> Reply:
        body = {
            "model": endpoint.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.prompt}],
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if endpoint.structured and request.schema is not None:
            body |= chat.structured(request.schema)
        try:
            written = persist(lambda: server.complete(body), endpoint.attempts, circuit)
        except Failure as failure:
            return Reply(None, str(failure), 0, 0)
        return Reply(written.text, None, written.prompt_tokens, written.completion_tokens)

    with closing(chat.Server(endpoint)) as server, ThreadPoolExecutor(endpoint.in_flight) as pool:
        replies = list(pool.map(answer, requests))
    log.info("%s: %d tries were repeated", chat.name(endpoint), circuit.retries)
    return replies


def _ask_embedded(home: Path, requests: list[Request]) -> list[Reply]:
    """The model is loaded once; requests with the same settings are answered together."""
    from pipelines.foundation import decoding, embedded
    from pipelines.foundation.rendering import render

    model, tokenizer = embedded.load(embedded.prepare(home))
    window = model.config.max_position_embeddings
    texts = [render(tokenizer, chat.writable(request.system), chat.writable(request.prompt)) for request in requests]
    replies: dict[int, Reply] = {}
    groups: dict[tuple, list[int]] = {}
    for place, (request, text) in enumerate(zip(requests, texts, strict=True)):
        tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        if tokens + request.max_new_tokens > window:
            reason = f"too_long: {tokens} tokens and {request.max_new_tokens} to write do not fit the model's {window}"
            replies[place] = Reply(None, reason, tokens, 0)
        else:
            groups.setdefault((request.max_new_tokens, request.temperature, request.seed, request.choices), []).append(place)
    for (max_new_tokens, temperature, seed, choices), places in groups.items():
        options = {"choices": list(choices) if choices else None, "temperature": temperature, "seed": seed}
        written = decoding.generate(model, tokenizer, [texts[place] for place in places], max_new_tokens, **options)
        for place, found in zip(places, written, strict=True):
            replies[place] = Reply(found.text, None, found.prompt_tokens, found.completion_tokens)
    return [replies[place] for place in range(len(requests))]
