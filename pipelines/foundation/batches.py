"""Provider batch APIs: thousands of questions in one file, answered within hours at a share of the price.

What was submitted is recorded in a folder of numbered files, and what was collected in a folder beside it. A batch
carries a hash of its questions as metadata: a process killed between creating a batch and recording it finds it again
at the provider, and two that create the same one at once agree on the older. So nothing is submitted twice.
"""

import datetime
import hashlib
import json
import logging
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import IO, NamedTuple

from pipelines.foundation import chat
from pipelines.foundation.batch_files import answer, lines, question
from pipelines.foundation.messages import Answered, Call, Reply, Request
from pipelines.foundation.numbered import Numbered
from pipelines.foundation.provider import Gone, Provider, text
from pipelines.sections import Endpoint

MOST_CALLS, MOST_BYTES = 50_000, 190_000_000  # of one batch; the provider's limits are 50,000 and 200 MB
ENDED = ("completed", "failed", "expired", "cancelled")
ADOPTED_SECONDS = 7 * 86_400  # an older batch is not looked for: its files may be gone
log = logging.getLogger("pipelines.batches")


class Batch(NamedTuple):
    """One batch that was submitted and not collected yet."""

    number: int  # of its record
    id: str  # the provider's
    mark: str  # hash of its keys
    requests: dict[str, Request]  # by key, without their texts: what an answer is held against, and whose it is
    at: str  # when it was recorded, ISO 8601

    @property
    def keys(self) -> tuple[str, ...]:
        """The calls that it holds."""
        return tuple(self.requests)


class Standing(NamedTuple):
    """How far a batch is."""

    ended: bool
    text: str  # for people: in_progress, 120 of 500 answered


def parts(endpoint: Endpoint, calls: Iterable[Call]) -> Iterator[list[Call]]:
    """The calls in parts that each fit one batch."""
    part: list[Call] = []
    size = 0
    for call in calls:
        length = len(question(endpoint, call))
        if part and (len(part) == MOST_CALLS or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(call)
        size += length
    if part:
        yield part


def submit(endpoint: Endpoint, store: Numbered, calls: Sequence[Call]) -> Batch:
    """Send one part as a batch and record it; the one that holds the same questions already is adopted instead.

    Raises Failure where the provider does not take it, and UserError for an API key that is not there.
    """
    requests = {call.key: call.request._replace(system="", prompt="") for call in calls}
    mark = hashlib.sha256("\n".join(sorted(requests)).encode()).hexdigest()[:32]
    for batch in open_batches(store, endpoint):
        if batch.mark == mark:
            return batch
    closed = {body.decode() for body in _closed(store).read().values()}
    with closing(Provider(endpoint)) as provider:
        found = _living(provider, mark, closed)
        if found is None:
            file = _upload(provider, calls)
            found = provider.patiently(lambda: _create(provider, file, mark, closed))
            log.info("%s: batch %s created, %d questions", chat.name(endpoint), found["id"], len(requests))
        else:
            log.info("%s: batch %s, submitted before, holds these %d questions", chat.name(endpoint), found["id"], len(requests))
    return _record(store, endpoint, Batch(0, found["id"], mark, requests, datetime.datetime.now(datetime.UTC).isoformat()))


def open_batches(store: Numbered, endpoint: Endpoint) -> list[Batch]:
    """Those that were submitted to this endpoint and are not closed."""
    ended = _closed(store).read()
    closed, ids = {int(name[:8]) for name in ended}, {body.decode() for body in ended.values()}
    found: dict[str, Batch] = {}  # by id: two processes may have recorded the same one
    for number in range(1, store.last() + 1):
        body = None if number in closed else store.get(number)
        said = json.loads(body) if body else {}
        if said.get("endpoint") == chat.name(endpoint) and said["batch"] not in ids:
            requests = {
                key: Request("", "", most, schema=said["schemas"][schema], item=item) for key, (item, most, schema) in said["calls"].items()
            }
            found.setdefault(said["batch"], Batch(number, said["batch"], said["mark"], requests, said["at"]))
    return list(found.values())


def look(endpoint: Endpoint, batch: str) -> Standing:
    """How far a batch is, asked once; raises Failure and UserError."""
    with closing(Provider(endpoint)) as provider:
        said = _look(provider, batch)
    counts = said.get("request_counts")
    done, total = (counts.get("completed"), counts.get("total")) if isinstance(counts, dict) else (None, None)
    progress = f", {done} of {total} answered" if isinstance(done, int) and isinstance(total, int) and total else ""
    return Standing(said["status"] in ENDED, f"{said['status'][:40]}{progress}")


def collect(endpoint: Endpoint, store: Numbered, batch: Batch) -> Iterator[Answered] | None:
    """None while the batch runs; then every key of it once, in any order, with an answer or with the reason why there is none.

    The files are fetched before this returns, so that nothing is left to fail while they are read. Raises Failure where
    the provider cannot be asked: the batch stays open.
    """
    with closing(Provider(endpoint)) as provider:
        said = provider.patiently(lambda: _look(provider, batch.id))
        if said["status"] not in ENDED:
            return None
        files, notes = [], []
        for key in ("output_file_id", "error_file_id"):
            if not isinstance(said.get(key), str) or not said[key]:
                continue
            file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the generator, or with it)
            try:
                provider.download(said[key], file)
            except Gone as gone:
                notes.append(f"its file of answers is gone ({gone})")
            files.append(file)
        reason = "; ".join([_why(said), *notes])
        # An answer that got lost on its way was paid for; of what the provider never did, nothing was.
        unsure = 1 if said["status"] == "completed" else 0
        return _answers(provider, batch, files, Reply(None, f"batch_failed: {reason}", unsure=unsure))


def close(store: Numbered, batch: Batch) -> None:
    """Mark a batch as collected, once its replies are kept; a second time changes nothing."""
    _closed(store).create(batch.number, batch.id.encode())


def _answers(provider: Provider, batch: Batch, files: list[IO[bytes]], missing: Reply) -> Iterator[Answered]:
    left, strange = set(batch.requests), 0
    for file in files:
        with file:
            for line in lines(file):
                found = answer(provider.endpoint, batch.requests, provider.strike(line))
                if found is None or found.key not in left:
                    strange += 1
                else:
                    left.discard(found.key)
                    yield found
    log.info("batch %s: %d of %d questions answered", batch.id, len(batch.requests) - len(left), len(batch.requests))
    if left or strange:
        what = f"{len(left)} questions without a line, {strange} lines that are unreadable, repeated or for no question of it"
        log.warning("batch %s: %s (%s)", batch.id, what, missing.error)
    yield from (Answered(key, missing) for key in sorted(left))


def _upload(provider: Provider, calls: Sequence[Call]) -> str:
    """The multipart body lies on the disk, whole: it may be 200 MB. Returns the file's id."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="nightshift.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    with tempfile.TemporaryFile() as body:
        body.write(head.encode())
        written: set[str] = set()
        for call in calls:
            if call.key not in written:
                body.write(question(provider.endpoint, call))
                written.add(call.key)
        body.write(f"\r\n--{boundary}--\r\n".encode())
        return provider.upload(body, boundary)


def _create(provider: Provider, file: str, mark: str, closed: set[str]) -> dict:
    """Create the batch, unless a try before this one or another process has; the older of two stays."""
    if found := _living(provider, mark, closed):
        return found
    hours = provider.endpoint.batch_hours
    asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": f"{hours}h"}
    made = provider.create(asked | {"metadata": {"nightshift": mark}})
    oldest = _living(provider, mark, closed) or made
    if oldest["id"] == made["id"]:
        return made
    log.warning("batch %s holds the same questions as %s, which another process created first: cancelled", made["id"], oldest["id"])
    provider.cancel(made["id"])
    return oldest


def _living(provider: Provider, mark: str, closed: set[str]) -> dict | None:
    """The oldest batch at the provider with this mark that has brought answers, or will, and was not collected."""
    found = []
    for batch in provider.listed(time.time() - ADOPTED_SECONDS):
        metadata, status = batch.get("metadata"), batch.get("status")
        dead = status in ("failed", "cancelling") or (status in ("expired", "cancelled") and not batch.get("output_file_id"))
        ours = isinstance(metadata, dict) and metadata.get("nightshift") == mark
        if ours and not dead and text(batch, "id") not in closed:
            found.append(batch)
    return min(found, key=lambda batch: (batch.get("created_at") or 0, batch["id"]), default=None)


def _look(provider: Provider, batch: str) -> dict:
    """A batch as it stands; one that the provider does not know, while it does answer for others, counts as failed."""
    try:
        return provider.look(batch)
    except Gone as gone:
        next(provider.listed(time.time()), None)  # a wrong address would be refused here too
        return {"status": "failed", "errors": {"data": [{"message": str(gone)}]}}


def _why(said: dict) -> str:
    """Why a question of a batch that has ended may have no answer."""
    if said["status"] == "completed":
        return "the provider's files hold no readable line for it"
    errors = said.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    first = data[0].get("message") if isinstance(data, list) and data and isinstance(data[0], dict) else ""
    return f"the batch {said['status']}" + (f", {chat.excerpt(str(first).encode())}" if first else "")


def _record(store: Numbered, endpoint: Endpoint, batch: Batch) -> Batch:
    schemas: list[dict | None] = []
    calls = {}
    for key, request in batch.requests.items():
        if request.schema not in schemas:
            schemas.append(request.schema)
        calls[key] = (request.item, request.max_new_tokens, schemas.index(request.schema))
    about = {"batch": batch.id, "endpoint": chat.name(endpoint), "mark": batch.mark, "at": batch.at}
    said = about | {"schemas": schemas, "calls": calls}
    while True:
        number = store.last() + 1
        if store.create(number, json.dumps(said).encode()):
            return batch._replace(number=number)


def _closed(store: Numbered) -> Numbered:
    """Beside it, not in it: a listing of an s3:// prefix goes down into what lies below."""
    return Numbered(f"{store.root.rstrip('/')}-closed")
