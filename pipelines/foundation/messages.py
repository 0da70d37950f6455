"""What goes through the door to a model, and what comes back."""

from typing import NamedTuple


class Request(NamedTuple):
    """One question."""

    system: str
    prompt: str
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0
    choices: tuple[str, ...] | None = None  # the embedded model answers with one of them; a server writes what it likes
    schema: dict | None = None  # JSON schema of the answer, sent to an endpoint that is declared structured
    occasion: str = ""  # the same question asked anew on purpose, say of a judge's anchors each night: another answer is wanted
    item: str = ""  # id of the row that it was made from, by which an erasure finds the reply


class Usage(NamedTuple):
    """Tokens that a server says it counted; `cached` are those of the prompt that it had seen before."""

    prompt: int
    completion: int
    cached: int = 0


class Reply(NamedTuple):
    """A text, or the reason why there is none as `word: reason`.

    The words: timeout, connection, rate_limited, server_error, malformed, denied (the key, the model or the address is
    wrong), refused (this request is), no_text, wrong_schema, bad_url, circuit_open, too_long, no_endpoint, over_budget,
    waiting, batch_failed.
    """

    text: str | None
    error: str | None
    usage: Usage | None = None  # None: the server does not say, or says something that cannot be
    logprobs: tuple[float, ...] | None = None  # natural logarithm of the probability of each token written, where asked for
    unsure: int = 0  # tries that the server may have billed without telling us

    @property
    def word(self) -> str:
        """The error without its reason, empty for an answer."""
        return (self.error or "").partition(":")[0]


class Call(NamedTuple):
    """A request with its key: the hash of everything that its answer depends on."""

    key: str
    request: Request


class Answered(NamedTuple):
    """The reply to one call."""

    key: str
    reply: Reply
