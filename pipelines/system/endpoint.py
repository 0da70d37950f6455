"""The champion behind an OpenAI-compatible server on 127.0.0.1: `python -m pipelines endpoint --usecase support --port 8100`.

GET /health, GET /v1/models (`champion`, `base`), POST /v1/chat/completions. Notable: prompts are rendered as they were
for training and evaluation; requests that arrive together are answered in one batch; a promotion is taken up without a
restart. What is sent is read strictly: an unknown key is refused, so that nobody believes in a setting that does nothing.
"""

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.foundation.step import open_night
from pipelines.system.batching import FAILURES, Answered, Asked, Batcher
from pipelines.system.models import Models

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

AFTER_EVERY_NIGHT = "9999-12-31"  # a night's own promotion does not count for that night; for serving it does
LONGEST_BODY = 1_000_000  # bytes
log = logging.getLogger("pipelines.endpoint")


class Message(BaseModel):
    """One turn; only text."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=100_000)]
    name: str | None = None


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions, as far as it is served here."""

    model_config = ConfigDict(extra="forbid")
    model: str = "champion"
    messages: Annotated[list[Message], Field(min_length=1, max_length=200)]
    max_tokens: int | None = Field(None, ge=1, le=1024)
    max_completion_tokens: int | None = Field(None, ge=1, le=1024)
    temperature: float = Field(0.0, ge=0, le=2)
    seed: int = Field(0, ge=0, lt=2**63)
    logprobs: bool | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: Literal[False] = False
    n: Literal[1] = 1
    user: str | None = None


class Refused(Exception):
    """A request that is refused; `status`, and what OpenAI's error object says."""

    def __init__(
        self, message: str, param: str | None = None, status: int = 400, code: str | None = None, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def serve(usecase: str, profile: str, port: int) -> None:
    """Load the champion, answer until the process is ended; raises UserError for wrong settings."""
    import uvicorn

    models = Models(open_night(usecase, profile, AFTER_EVERY_NIGHT))
    models.refresh()
    batcher = Batcher(models)
    log.info("endpoint: serving %s of %s on http://127.0.0.1:%d/v1", models.champion_key, usecase, port)
    uvicorn.run(build(models, batcher), host="127.0.0.1", port=port, log_level="warning")
    batcher.close()


def build(models: Models, batcher: Batcher) -> "FastAPI":
    """The application."""
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    app = FastAPI(title="Nightshift endpoint", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refused)
    async def refuse(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse(error.body, error.status)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        message = f"there is no {request.method} {request.url.path}; served: GET /health, GET /v1/models, POST /v1/chat/completions"
        return JSONResponse(Refused(message).body, getattr(error, "status_code", 404))

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "usecase": models.usecase.name, "champion": models.champion_key, "version": models.champion_version}

    @app.get("/v1/models")
    async def list_models() -> dict:
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": "nightshift"} for name in models.names()],
        }

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> dict:
        asked = _read(await _body(request), models)
        try:
            answered = await asyncio.wrap_future(batcher.submit(asked))
        except FAILURES as error:
            log.warning("endpoint: the model failed: %s", error)
            raise Refused(f"the model failed: {error}", status=500, kind="server_error") from error
        return _reply(asked, answered)

    return app


async def _body(request: "Request") -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LONGEST_BODY:
            raise Refused(f"the body is longer than {LONGEST_BODY:,} bytes", status=413)
        parts.append(part)
    return b"".join(parts)


def _read(body: bytes, models: Models) -> Asked:
    """The request, checked; raises Refused naming the parameter."""
    try:
        chat = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise _explain(error) from None
    if chat.model not in models.names():
        raise Refused(f"there is no model {chat.model!r}; served here: {', '.join(models.names())}", "model", 404, "model_not_found")
    limit = chat.max_completion_tokens or chat.max_tokens or models.usecase.task.max_new_tokens
    stop = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    if not all(stop):
        raise Refused("stop: an empty text would end every answer at once", "stop")
    rendered = models.render([(message.role, message.content) for message in chat.messages])
    if (tokens := models.count(rendered.prompt)) + limit > models.context:
        raise Refused(
            f"the messages have {tokens} tokens and {limit} may be written, together more than the model's {models.context}",
            "messages",
            code="context_length_exceeded",
        )
    return Asked(chat.model, rendered.prompt, rendered.choices, limit, chat.temperature, chat.seed, tuple(stop), bool(chat.logprobs))


def _explain(error: ValidationError) -> Refused:
    first = error.errors(include_url=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    if param == "stream":
        return Refused("stream: this server does not stream; leave stream out or set it to false", "stream")
    if first["type"] == "extra_forbidden":
        return Refused(f"{param}: not supported here; supported: {', '.join(ChatRequest.model_fields)}", param)
    return Refused(f"{param or 'body'}: {first['msg']}", param or None)


def _reply(asked: Asked, answered: Answered) -> dict[str, Any]:
    """OpenAI's chat completion object."""
    used = {"prompt_tokens": answered.prompt_tokens, "completion_tokens": answered.completion_tokens}
    message = {"role": "assistant", "content": answered.text}
    logprobs = None
    if answered.tokens is not None:
        content = [{"token": piece.text, "logprob": piece.logprob, "bytes": None, "top_logprobs": []} for piece in answered.tokens]
        logprobs = {"content": content}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "system_fingerprint": answered.key,
        "choices": [{"index": 0, "message": message, "finish_reason": answered.finish_reason, "logprobs": logprobs}],
        "usage": used | {"total_tokens": sum(used.values())},
    }
