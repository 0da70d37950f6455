"""Batched answers of a Llama-family model on a CPU: greedy or sampled, with the first line held to a set of choices.

Notable: prompts are packed (see `pipelines.foundation.packed`), tokens that the choices force are not computed one by
one but go through the model together with the next real decision, and finished rows leave the batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.packed import Attend, Packed, attention, blocks, movers, pack, shared_prefix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

Trie = dict[int, "Trie"]  # token -> what may follow; an empty dict: free text


class Completion(NamedTuple):
    """One answer. `finish_reason` is "stop" (the model ended its turn) or "length" (max_new_tokens reached)."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


class Row:
    """One prompt on its way to an answer."""

    def __init__(self, index: int, prompt: list[int], trie: Trie) -> None:
        self.index = index
        self.prompt = prompt
        self.trie = trie
        self.tokens: list[int] = []
        self.pending: list[int] = []
        self.past = 0
        self.done = False

    def accept(self, token: int, limit: int, eos: int) -> None:
        """Take a decided token and those that the choices force after it."""
        while True:
            self.trie = self.trie.get(token, {})
            self.done = token == eos
            if not self.done:
                self.tokens.append(token)
                self.pending.append(token)
                self.done = len(self.tokens) >= limit
            if self.done or len(self.trie) != 1:
                return
            token = next(iter(self.trie))


def generate(
    model: "LlamaForCausalLM",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    max_new_tokens: int,
    choices: Sequence[str] | None = None,
    temperature: float = 0.0,
    seed: int | Sequence[int] = 0,
    batch_tokens: int = 4096,
) -> list[Completion]:
    """Complete rendered prompts, in their order.

    With `choices` the first line is exactly one of them; the model then ends or goes on after a newline. Temperature 0
    is greedy; otherwise row i draws from its own generator, (seed, i) or the seed of its own that it was given, so its
    answer does not depend on its neighbours.
    A batch holds at most `batch_tokens` prompt tokens. Memory is about 46 kB a token of prompt or answer.
    """
    import torch

    if not prompts:
        return []
    ids = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    trie = _trie(tokenizer, choices or [])
    rows = [Row(index, prompt, trie) for index, prompt in enumerate(ids)]
    seeds = [seed * 1_000_003 + row.index for row in rows] if isinstance(seed, int) else seed
    draws = [torch.Generator().manual_seed(own) for own in seeds] if temperature else []
    with torch.inference_mode():
        for batch in _batches(rows, batch_tokens):
            _answer(model, batch, max_new_tokens, tokenizer.eos_token_id, temperature, draws)
    texts = tokenizer.batch_decode([row.tokens for row in rows], skip_special_tokens=True)
    return [
        Completion(text, len(row.prompt), len(row.tokens), "stop" if row.done and len(row.tokens) < max_new_tokens else "length")
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


def _batches(rows: list[Row], batch_tokens: int) -> list[list[Row]]:
    """Rows of like length together, longest first, so that a too large batch fails at once."""
    batches: list[list[Row]] = []
    room = 0
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        if room < len(row.prompt):
            batches.append([])
            room = batch_tokens
        batches[-1].append(row)
        room -= len(row.prompt)
    return batches


def _answer(model: "LlamaForCausalLM", rows: list[Row], limit: int, eos: int, temperature: float, draws: list) -> None:
    """Fill the rows' tokens."""
    cache, hidden = _prefill(model, rows, limit)
    while True:
        _decide(model.lm_head(model.model.norm(hidden)), rows, limit, eos, temperature, draws)
        live = [i for i, row in enumerate(rows) if not row.done]
        if not live:
            return
        if len(live) < len(rows):
            rows = [rows[i] for i in live]
            cache = cache.keep(live)
        hidden = _decode(model, rows, cache)


def _decide(logits: "Tensor", rows: list[Row], limit: int, eos: int, temperature: float, draws: list) -> None:
    import torch

    logits = logits.float()
    for i, row in enumerate(rows):
        if row.trie:
            allowed = torch.tensor(list(row.trie))
            logits[i] = torch.full_like(logits[i], -torch.inf).index_copy(0, allowed, logits[i, allowed])
    if temperature:
        shares = torch.softmax(logits / temperature, -1)
        picks = [int(torch.multinomial(share, 1, generator=draws[row.index])) for share, row in zip(shares, rows, strict=True)]
    else:
        picks = logits.argmax(-1).tolist()
    for row, token in zip(rows, picks, strict=True):
        row.accept(token, limit, eos)


class Cache(NamedTuple):
    """Keys and values so far: per layer [B, S, 2, G, D]; row r's token at position p is at [r, p]."""

    layers: list["Tensor"]

    def keep(self, live: list[int]) -> "Cache":
        """Only these rows."""
        return Cache([layer[live] for layer in self.layers])


class Prefilled(NamedTuple):
    """The cache after the prompts and each prompt's last hidden state [B, d]."""

    cache: Cache
    hidden: "Tensor"


def _prefill(model: "LlamaForCausalLM", rows: list[Row], limit: int) -> Prefilled:
    import torch

    prefix = shared_prefix([row.prompt for row in rows])
    lengths = [len(row.prompt) - prefix for row in rows]
    packed = pack(lengths, prefix)
    spread, _ = movers(packed)
    attend = attention(packed)
    size = [len(rows), prefix + max(lengths) + limit, 2]
    layers: list[Tensor] = []

    def remember(layer: int, q: "Tensor", k: "Tensor", v: "Tensor") -> "Tensor":
        pair = torch.stack([k, v], 1)
        layers.append(pair.new_zeros(*size, *k.shape[1:]))
        layers[-1][:, :prefix] = pair[:prefix]
        layers[-1][:, prefix : prefix + max(lengths)] = spread(pair[prefix:])
        return attend(layer, q, k, v)

    tokens = torch.tensor(rows[0].prompt[:prefix] + [token for row in rows for token in row.prompt[prefix:]])
    hidden = blocks(model, model.model.embed_tokens(tokens), packed.positions, remember)
    for row in rows:
        row.past = len(row.prompt)
    return Prefilled(Cache(layers), hidden[torch.tensor(lengths).cumsum(0) + prefix - 1])


def _decode(model: "LlamaForCausalLM", rows: list[Row], cache: Cache) -> "Tensor":
    """Run the rows' pending tokens; returns each row's last hidden state [B, d]."""
    import torch

    lengths = [len(row.pending) for row in rows]
    packed = pack(lengths, 0)
    tokens = torch.tensor([token for row in rows for token in row.pending])
    past = torch.tensor([row.past for row in rows])
    owner = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(lengths))
    positions = past[owner] + packed.positions
    hidden = blocks(model, model.model.embed_tokens(tokens), positions, _cached(cache, packed, past, owner, positions))
    for row in rows:
        row.past += len(row.pending)
        row.pending = []
    return hidden[torch.tensor(lengths).cumsum(0) - 1]


def _cached(cache: Cache, packed: Packed, past: "Tensor", owner: "Tensor", positions: "Tensor") -> Attend:
    """Attention of new tokens to all that their row holds; writes them into the cache first."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    spread, gather = movers(packed)
    reach = int(positions.max()) + 1
    places = past[:, None] + torch.arange(packed.mask.shape[0])
    mask = (torch.arange(reach) <= places[..., None])[:, None]

    def attend(index: int, q: "Tensor", k: "Tensor", v: "Tensor") -> "Tensor":
        layer = cache.layers[index]
        layer[owner, positions] = torch.stack([k, v], 1)
        keys, values = (x.transpose(1, 2) for x in layer[:, :reach].unbind(2))
        out = sdpa(spread(q).transpose(1, 2), keys, values, attn_mask=mask, enable_gqa=True)
        return gather(out.transpose(1, 2)).flatten(1)

    return attend
