"""The models that the endpoint serves: the base, and the champion with its adapter merged in, taken up when it changes."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import registry, rendering
from pipelines.foundation.step import Night
from pipelines.system.batching import Answered, Asked, Token

if TYPE_CHECKING:
    from pipelines.foundation.decoding import Completion
    from pipelines.foundation.embedded import Loaded

CHECK_SECONDS = 30
log = logging.getLogger("pipelines.endpoint")


class Rendered(NamedTuple):
    """A conversation as the model reads it."""

    prompt: str
    choices: tuple[str, ...]  # what the first line of the answer may be; empty: anything


class Models:
    """Base and champion of one use case; only the batcher's thread calls `answer` and `idle`."""

    def __init__(self, night: Night) -> None:
        from pipelines.foundation import embedded

        self._night = night
        self._folder = embedded.prepare(Path(night.profile.state) / "models")
        self._base = embedded.load(self._folder)
        self._champion: Loaded = self._base
        self._checked = 0.0
        self._system = night.usecase.prompt(night.usecase.task.system)
        labels = night.usecase.contract.labels if "label" in night.usecase.task.answer else []
        self._choices = tuple(rendering.words(night.usecase, label) for label in labels)
        self.usecase = night.usecase
        self.champion_key = registry.BASE
        self.champion_version: str | None = None
        self.context: int = self._base.model.config.max_position_embeddings

    def names(self) -> tuple[str, str]:
        """What a request may ask for."""
        return ("champion", "base")

    def refresh(self) -> None:
        """Load the champion where it is another one than before."""
        from pipelines.foundation import embedded

        self._checked = time.monotonic()
        found = registry.champion(self._night)
        if found.key == self.champion_key:
            return
        self._champion = embedded.load(self._folder, registry.adapter_folder(self._night, found)) if found.adapter else self._base
        self.champion_key, self.champion_version = found.key, found.version
        log.info("endpoint: the champion is now version %s (%s)", found.version or "of the base model", found.key)

    def idle(self) -> None:
        """Look for a promotion every CHECK_SECONDS; a registry that does not answer leaves the champion as it is."""
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        from mlflow.exceptions import MlflowException

        try:
            self.refresh()
        except (MlflowException, OSError) as error:
            log.warning("endpoint: the registry does not answer, so the champion stays version %s: %s", self.champion_version, error)

    def render(self, messages: list[tuple[str, str]]) -> Rendered:
        """A conversation without a system message is the use case's own task: its system text and labels, as in the evaluation."""
        if messages[0][0] == "system":
            return Rendered(self._text(messages), ())
        return Rendered(self._text([("system", self._system), *messages]), self._choices)

    def _text(self, messages: list[tuple[str, str]]) -> str:
        if [role for role, _ in messages] == ["system", "user"]:
            return rendering.render(self._base.tokenizer, messages[0][1], messages[1][1])
        turns = [{"role": role, "content": content} for role, content in messages]
        return self._base.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def count(self, prompt: str) -> int:
        """Tokens of a rendered prompt."""
        return len(self._base.tokenizer(prompt, add_special_tokens=False)["input_ids"])

    def answer(self, batch: list[Asked]) -> list[Answered]:
        """Complete rendered prompts together; see `batching.Answers`."""
        from pipelines.foundation.decoding import generate

        first = batch[0]
        loaded, key = (self._champion, self.champion_key) if first.model == "champion" else (self._base, registry.BASE)
        options = {"choices": first.choices or None, "temperature": first.temperature, "seed": [asked.seed for asked in batch]}
        limits = [asked.max_tokens for asked in batch]
        written = generate(loaded.model, loaded.tokenizer, [asked.prompt for asked in batch], limits, **options)
        return [
            Answered(*found[:4], key, _tokens(loaded, found) if asked.logprobs else None)
            for asked, found in zip(batch, written, strict=True)
        ]


def _tokens(loaded: "Loaded", written: "Completion") -> tuple[Token, ...]:
    """Each token's share of the text: a token that ends within a letter has none, the one that ends the letter has all of it."""
    from tokenizers.decoders import DecodeStream

    stream, reader = DecodeStream(skip_special_tokens=True), loaded.tokenizer.backend_tokenizer
    pieces = [stream.step(reader, token) or "" for token in written.tokens]
    return tuple(Token(piece, logprob) for piece, logprob in zip(pieces, written.logprobs, strict=True))
