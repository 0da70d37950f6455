"""Batched answers of a Llama-family model on a CPU: greedy or sampled, with the first line held to a set of choices.

Notable: prompts are packed (see `pipelines.foundation.packed`), their common beginning is read once, tokens that the
choices force are not computed one by one but go through the model together with the next real decision, and finished
rows leave the batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import cached

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

TOGETHER = 48  # rows that write at a time: oneMKL's products of 57 to 79 rows took twice the time of those of 56

Trie = dict[int, "Trie"]  # token -> what may follow; an empty dict: free text


class Completion(NamedTuple):
    """One answer. `finish_reason` is "stop" (the model ended its turn) or "length" (max_new_tokens reached)."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]  # natural logarithm of each token's probability among those that it was drawn from; forced: 0


class Row:
    """One prompt on its way to an answer."""

    def __init__(self, prompt: list[int], trie: Trie, limit: int, draw: "Generator | None") -> None:
        self.prompt = prompt
        self.trie = trie
        self.limit = limit
        self.draw = draw
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.pending: list[int] = []  # decided, and not read by the model yet
        self.ended = False

    @property
    def size(self) -> int:
        """Tokens at most, of prompt and answer."""
        return len(self.prompt) + self.limit

    @property
    def done(self) -> bool:
        """Nothing more is written."""
        return self.ended or len(self.tokens) >= self.limit

    def accept(self, token: int, logprob: float, eos: int) -> None:
        """Take a decided token and those that the choices force after it."""
        while True:
            self.trie = self.trie.get(token, {})
            self.ended = token == eos
            if not self.ended:
                self.tokens.append(token)
                self.logprobs.append(logprob)
                self.pending.append(token)
            if self.done or len(self.trie) != 1:
                return
            token, logprob = next(iter(self.trie)), 0.0


def generate(
    model: "LlamaForCausalLM",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    max_new_tokens: int | Sequence[int],
    choices: Sequence[str] | None = None,
    temperature: float = 0.0,
    seed: int | Sequence[int] = 0,
    batch_tokens: int = 8192,
) -> list[Completion]:
    """Complete rendered prompts, in their order.

    With `choices` the first line is exactly one of them; the model then ends or goes on after a newline. Temperature 0
    is greedy, and its log-probabilities are those of temperature 1; otherwise row i draws from its own generator,
    (seed, i) or the seed of its own that it was given, so its answer does not depend on its neighbours. `max_new_tokens`
    is one limit or one a row. A batch holds at most `batch_tokens` tokens of prompts and answers, 46 kB each.
    """
    import torch

    if not prompts:
        return []
    ids = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    trie = _trie(tokenizer, choices or [])
    limits = [max_new_tokens] * len(ids) if isinstance(max_new_tokens, int) else max_new_tokens
    seeds = [seed * 1_000_003 + i for i in range(len(ids))] if isinstance(seed, int) else seed
    draws = [torch.Generator().manual_seed(own) if temperature else None for own in seeds]
    rows = [Row(prompt, trie, limit, draw) for prompt, limit, draw in zip(ids, limits, draws, strict=True)]
    with torch.inference_mode():
        for batch in _batches(rows, batch_tokens):
            _answer(model, batch, tokenizer.eos_token_id, temperature)
    texts = tokenizer.batch_decode([row.tokens for row in rows], skip_special_tokens=True)
    return [
        Completion(text, len(row.prompt), len(row.tokens), "stop" if row.ended else "length", tuple(row.tokens), tuple(row.logprobs))
        for row, text in zip(rows, texts, strict=True)
    ]


def _trie(tokenizer: "PreTrainedTokenizerBase", choices: Sequence[str]) -> Trie:
    """Allowed tokens of the first line. A choice ends in end-of-turn or in a newline, after which all is free."""
    root: Trie = {}
    [newline] = tokenizer("\n", add_special_tokens=False)["input_ids"]
    for choice in choices:
        node = root
        for token in tokenizer(choice, add_special_tokens=False)["input_ids"]:
            node = node.setdefault(token, {})
        node.setdefault(tokenizer.eos_token_id, {})
        node.setdefault(newline, {})
    return root


def _batches(rows: Sequence[Row], batch_tokens: int) -> list[list[Row]]:
    """Rows of like length together, longest first: a too large batch fails at once, and the first row bounds the others."""
    batches: list[list[Row]] = []
    room = 0
    for row in sorted(rows, key=lambda row: -row.size):
        if not room:
            batches.append([])
            room = max(1, min(TOGETHER, batch_tokens // row.size))
        batches[-1].append(row)
        room -= 1
    return batches


def _answer(model: "LlamaForCausalLM", rows: list[Row], eos: int, temperature: float) -> None:
    """Fill the rows' tokens."""
    cache = cached.Cache.empty(model, len(rows), max(row.size for row in rows))
    hidden = cached.read_prompts(model, cache, [row.prompt for row in rows])
    while True:
        _decide(model.lm_head(model.model.norm(hidden)), rows, eos, temperature)
        live = [i for i, row in enumerate(rows) if not row.done]
        if not live:
            return
        if len(live) < len(rows):
            order = cache.keep(live)
            rows = [rows[i] for i in order]
        hidden = cached.read(model, cache, [row.pending for row in rows])
        for row in rows:
            row.pending = []


def _decide(logits: "Tensor", rows: list[Row], eos: int, temperature: float) -> None:
    import torch

    logits = logits.float()
    for i, row in enumerate(rows):
        if row.trie:
            allowed = torch.tensor(list(row.trie))
            logits[i] = torch.full_like(logits[i], -torch.inf).index_copy(0, allowed, logits[i, allowed])
    if temperature:
        shares = torch.softmax(logits / temperature, -1)
        picks = torch.cat([torch.multinomial(share, 1, generator=row.draw) for share, row in zip(shares, rows, strict=True)])
        logprobs = shares.gather(1, picks[:, None]).log()
    else:
        best, picks = logits.max(-1)
        logprobs = best - logits.logsumexp(-1)
    for row, token, logprob in zip(rows, picks.tolist(), logprobs.flatten().tolist(), strict=True):
        row.accept(token, logprob, eos)
