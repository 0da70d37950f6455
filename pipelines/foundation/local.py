"""Calls that the embedded model answers, in this process."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.foundation import chat, decoding, embedded
from pipelines.foundation.messages import Answered, Call, Reply, Usage
from pipelines.foundation.rendering import render


def answer(home: Path, calls: Iterable[Call | Answered | None], together: int) -> Iterator[Answered]:
    """Replies, `together` calls at a time; `home` is the folder that keeps the model, which is loaded with the first call.

    An element that is answered already is passed on; None: no more calls before the ones that are here are answered.
    """
    model: embedded.Loaded | None = None
    batch: list[Call] = []
    for call in calls:
        if isinstance(call, Answered):
            yield call
        elif call is not None:
            batch.append(call)
        if batch and (call is None or len(batch) == together):
            model = model or embedded.load(embedded.prepare(home))
            yield from _generate(model, batch)
            batch = []
    if batch:
        yield from _generate(model or embedded.load(embedded.prepare(home)), batch)


def _generate(loaded: embedded.Loaded, calls: list[Call]) -> Iterator[Answered]:
    """Calls of one temperature and with the same choices are answered together."""
    model, tokenizer = loaded
    groups: dict[tuple, list[tuple[Call, str]]] = {}
    for call in calls:
        request = call.request
        text = render(tokenizer, chat.writable(request.system), chat.writable(request.prompt))
        tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        window = model.config.max_position_embeddings
        if tokens + request.max_new_tokens > window:
            reason = f"too_long: {tokens} tokens and {request.max_new_tokens} to write do not fit the model's {window}"
            yield Answered(call.key, Reply(None, reason, Usage(tokens, 0)))
        else:
            groups.setdefault((request.temperature, request.choices), []).append((call, text))
    for (temperature, choices), group in groups.items():
        options = {"choices": list(choices) if choices else None, "temperature": temperature}
        limits, seeds = ([getattr(call.request, name) for call, _ in group] for name in ("max_new_tokens", "seed"))
        written = decoding.generate(model, tokenizer, [text for _, text in group], limits, seed=seeds, **options)
        for (call, _), found in zip(group, written, strict=True):
            usage = Usage(found.prompt_tokens, found.completion_tokens)
            yield Answered(call.key, Reply(found.text, None, usage, found.logprobs))
