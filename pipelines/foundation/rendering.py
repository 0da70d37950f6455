"""One rendering of a row for training, evaluation and serving: the same hash, or the night fails.

A completion holds the label on its first line and the reply after it, as `task.answer` in the use case says.
"""

from typing import TYPE_CHECKING, NamedTuple

from pipelines.sections import UseCase

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Answer(NamedTuple):
    """What a completion says; a part that the task does not have, or that was not written, is None."""

    label: str | None
    response: str | None


def render(tokenizer: "PreTrainedTokenizerBase", system: str, prompt: str) -> str:
    """The chat text up to where the model answers. The system text is always given: the template would add its own."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def completion(usecase: UseCase, label: str | None, response: str | None) -> str:
    """What the model is taught to write after `render`, without the end-of-turn token."""
    lines = []
    if "label" in usecase.task.answer:
        lines.append(words(usecase, label or ""))
    if "reply" in usecase.task.answer:
        lines.append(response or "")
    return "\n".join(lines)


def parse(usecase: UseCase, labels: list[str], text: str) -> Answer:
    """Read a completion back; a first line that is no label gives label None."""
    if usecase.task.answer == "reply":
        return Answer(None, text.strip())
    first, _, rest = text.strip().partition("\n")
    by_words = {words(usecase, label): label for label in labels}
    response = rest.strip() if usecase.task.answer == "label_reply" else None
    return Answer(by_words.get(first.strip()), response)


def words(usecase: UseCase, label: str) -> str:
    """A label as the model writes it."""
    return label.replace("_", " ") if usecase.task.label_words else label
