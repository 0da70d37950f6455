"""What a model is asked for a synthetic row: the prompt of its method, with the places filled.

A prompt is a file of the use case. {message} is the parent, {examples} the parent and, for a label with few rows, two more
of the label, {label} the label; {persona} who writes; {other} and {near} the label that a hard negative comes close to, and
rows of it. Messages stand there as JSON strings, one a line: the fence that a small model follows best.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.data.synthesis.plans import Draft
from pipelines.errors import UserError
from pipelines.foundation import embedded, rendering, text
from pipelines.foundation.messages import Request
from pipelines.foundation.step import Night, fingerprint

PLACES = re.compile(r"\{(?:label|message|examples|persona|other|near)\}")
NEEDED = {"persona": ("{persona}",), "hard_negative": ("{other}", "{near}")}  # one of them, besides the message


class Ask(NamedTuple):
    """How a method asks."""

    prompt: str
    version: str  # hash of the prompt
    model: str

    @property
    def shows_examples(self) -> bool:
        """Whether more than the parent can be shown."""
        return "{examples}" in self.prompt


def build(night: Night, methods: Sequence[str]) -> dict[str, Ask]:
    """How each of the methods asks; raises UserError for an endpoint or a prompt that cannot be used."""
    settings, where = night.usecase.synthesis, f"{night.usecase.folder}/usecase.yaml"
    found = {}
    for method in methods:
        endpoint = night.profile.endpoints.get(settings.endpoint)
        if endpoint is None:
            allowed = ", ".join(sorted(night.profile.endpoints))
            raise UserError(f"{where}: synthesis.endpoint: the profile has no endpoint {settings.endpoint!r}; allowed: {allowed}")
        name = settings.prompts.get(method, settings.prompt)
        key = f"synthesis.prompts.{method}" if method in settings.prompts else "synthesis.prompt"
        prompt = night.usecase.prompt(name)
        if "{examples}" not in prompt and "{message}" not in prompt:
            lacks = f"prompts/{name} has no place {{message}} or {{examples}}" if name else "no file is named"
            raise UserError(f"{where}: {key}: {lacks}: name a file whose text holds {{message}} or {{examples}}, and {{label}} if it helps")
        if method in NEEDED and not any(place in prompt for place in NEEDED[method]):
            places = " or ".join(NEEDED[method])
            lacks = f"prompts/{name} has no place {places}, which {method} needs"
            raise UserError(f"{where}: {key}: {lacks}: name a file of its own in synthesis.prompts")
        found[method] = Ask(prompt, fingerprint(prompt), endpoint.model if endpoint.kind == "openai" else embedded.NAME)
    return found


def request(night: Night, ask: Ask, draft: Draft, seed: int) -> Request:
    """The request for one draft."""
    settings = night.usecase.synthesis
    shown = [_quote(row) for row in draft.sources if row not in draft.near]
    places = {
        "{label}": rendering.words(night.usecase, draft.parent["label"] or "this"),
        "{message}": _quote(draft.parent),
        "{examples}": "\n".join(shown),
        "{persona}": draft.persona.words if draft.persona else "a customer",
        "{other}": rendering.words(night.usecase, draft.other),
        "{near}": "\n".join(map(_quote, draft.near)),
    }
    written = PLACES.sub(lambda match: places[match[0]], ask.prompt)  # in one pass: a message may hold a place's name
    # Few sizes, for the embedded model answers requests of one size together.
    tokens = min(-(-(2 * len(text.words(draft.parent["prompt"])) + 8) // 32) * 32, 2 * settings.max_words)
    items = dict.fromkeys(row["example_id"] for row in (draft.parent, *draft.sources))  # the parent first
    return Request("", written, tokens, settings.temperature, seed, item=" ".join(items))


def _quote(row: dict) -> str:
    return json.dumps(" ".join(row["prompt"].split()), ensure_ascii=False)
