"""Batched answers of a Llama-family model on a CPU: greedy or sampled, with the first line held to a set of choices.

Notable: prompts are packed (see `pipelines.foundation.packed`), their common beginning is read once, tokens that the
choices force are not computed one by one but go through the model together with the next real decision, and finished
rows leave the batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.packed import Attend, Packed, blocks, movers, pack, shared_prefix

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

READ_TOKENS = 1024  # of prompts, in one pass: as fast a token as more of them, and what lies between two layers stays in the cache
QUERIES = 128  # of a row, in one attention: later tokens of a prompt are not even looked at

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
        self.pending = prompt
        self.past = 0
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
            room = max(1, batch_tokens // row.size)
        batches[-1].append(row)
        room -= 1
    return batches


def _answer(model: "LlamaForCausalLM", rows: list[Row], eos: int, temperature: float) -> None:
    """Fill the rows' tokens."""
    cache, hidden = _prefill(model, rows)
    while True:
        _decide(model.lm_head(model.model.norm(hidden)), rows, eos, temperature)
        rows, cache = _drop(rows, cache)
        if not rows:
            return
        hidden = _read(model, rows, cache)


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


class Cache(NamedTuple):
    """Keys and values so far: per layer [B, S, 2, G, D]; row r's token at position p is at [r, p]."""

    layers: list["Tensor"]

    def only(self, start: int, stop: int) -> "Cache":
        """Some of the rows, in the same memory."""
        return Cache([layer[start:stop] for layer in self.layers])


def _drop(rows: list[Row], cache: Cache) -> tuple[list[Row], Cache]:
    """Only the rows that are not done; the last ones move into the places of those that are."""
    count = sum(not row.done for row in rows)
    free = [i for i in range(count) if rows[i].done]
    late = [i for i in range(count, len(rows)) if not rows[i].done]
    for to, source in zip(free, late, strict=True):
        rows[to] = rows[source]
        for layer in cache.layers:
            layer[to] = layer[source]
    return rows[:count], cache.only(0, count)


def _prefill(model: "LlamaForCausalLM", rows: list[Row]) -> tuple[Cache, "Tensor"]:
    """The cache after the prompts, and each prompt's last hidden state [B, d]."""
    import torch

    config, table = model.config, model.model.embed_tokens.weight
    shape = [len(rows), max(row.size for row in rows), 2, config.num_key_value_heads, config.head_dim]
    cache = Cache([table.new_zeros(shape) for _ in model.model.layers])
    prefix = shared_prefix([row.prompt for row in rows])
    if prefix:
        _read(model, [Row(rows[0].prompt[:prefix], {}, 0, None)], cache.only(0, 1))
        for layer in cache.layers:
            layer[1:, :prefix] = layer[:1, :prefix]
    for row in rows:
        row.past, row.pending = prefix, row.prompt[prefix:]
    starts, room = [0], READ_TOKENS
    for place, row in enumerate(rows):
        if len(row.pending) > room and place > starts[-1]:
            starts.append(place)
            room = READ_TOKENS
        room -= len(row.pending)
    parts = zip(starts, [*starts[1:], len(rows)], strict=True)
    return cache, torch.cat([_read(model, rows[start:stop], cache.only(start, stop)) for start, stop in parts])


def _read(model: "LlamaForCausalLM", rows: list[Row], cache: Cache) -> "Tensor":
    """Run the rows' pending tokens; returns each row's last hidden state [B, d]."""
    import torch

    lengths = [len(row.pending) for row in rows]
    packed = pack(lengths, 0)
    past = torch.tensor([row.past for row in rows])
    tokens = torch.tensor([token for row in rows for token in row.pending])
    owner = packed.cells // len(packed.mask)
    positions = past[owner] + packed.positions
    hidden = blocks(model, model.model.embed_tokens(tokens), positions, _cached(cache, packed, past, owner, positions))
    for row, length in zip(rows, lengths, strict=True):
        row.past += length
        row.pending = []
    return hidden[torch.tensor(lengths).cumsum(0) - 1]


def _cached(cache: Cache, packed: Packed, past: "Tensor", owner: "Tensor", positions: "Tensor") -> Attend:
    """Attention of new tokens to all that their row holds; writes them into the cache first."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    spread, gather = movers(packed)
    last, groups = int(positions.max()), cache.layers[0].shape[3]
    parts = []  # of every row a stretch of queries: where it starts, how far it may look, and its mask [B, 1, L, reach]
    for start in range(0, len(packed.mask), QUERIES):
        places = past[:, None] + torch.arange(start, min(start + QUERIES, len(packed.mask)))
        reach = min(int(places.max()), last) + 1
        unseen = torch.arange(reach) > places[..., None]
        parts.append((start, reach, unseen[:, None].to(cache.layers[0].dtype).masked_fill_(unseen[:, None], -torch.inf)))

    def attend(index: int, q: "Tensor", k: "Tensor", v: "Tensor") -> "Tensor":
        layer = cache.layers[index]
        layer[owner, positions] = torch.stack([k, v], 1)
        queries = spread(q).unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4)  # [B, G, R, L, D]: R heads share keys
        found = []
        for start, reach, mask in parts:
            some = queries[:, :, :, start : start + QUERIES]
            keys, values = (x.transpose(1, 2) for x in layer[:, :reach].unbind(2))
            # The heads of a group are more queries to the same keys, which are then read once.
            out = sdpa(some.flatten(2, 3), keys, values, attn_mask=mask.repeat(1, 1, some.shape[2], 1))
            found.append(out.unflatten(2, some.shape[2:4]))
        return gather(torch.cat(found, 3).permute(0, 3, 1, 2, 4)).flatten(1)

    return attend
