"""The keys and values of prompts and answers in one block of memory, and a forward pass that reads and extends them.

Notable: what several prompts begin with is read once, be it the system text of all of them or the message that two of
them are about; rows are packed for the linears (`pipelines.foundation.packed`) and
padded for attention alone; a row that is done leaves without the others being copied.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.packed import Attend, Packed, blocks, movers, pack, shared_prefix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

READ_TOKENS = 1024  # of prompts, in one pass: as fast a token as with more, and what passes between two linears stays small
WORTH_TOKENS = 64  # that a pass over something shared must spare: it reads all weights, as long as 30 tokens take
QUERIES = 128  # tokens of a row in one attention: what none of them may see is not looked at


class Shared(NamedTuple):
    """A stretch of tokens that several rows have after the same beginning."""

    rows: list[int]
    start: int
    stop: int


class Cache:
    """Per layer [B, S, 2, G, D]: keys and values; row r's token at position p is at [r, p]. `past` [B]: tokens that a row holds."""

    def __init__(self, layers: list["Tensor"], past: "Tensor") -> None:
        self.layers = layers
        self.past = past

    @classmethod
    def empty(cls, model: "LlamaForCausalLM", rows: int, size: int) -> "Cache":
        """Room for `size` tokens a row. Zeros: what is masked is still multiplied."""
        import torch

        config = model.config
        shape = [rows, size, 2, config.num_key_value_heads, config.head_dim]
        layers = [model.model.embed_tokens.weight.new_zeros(shape) for _ in model.model.layers]
        return cls(layers, torch.zeros(rows, dtype=torch.int64))

    def only(self, start: int, stop: int) -> "Cache":
        """Some of the rows, in the same memory."""
        return Cache([layer[start:stop] for layer in self.layers], self.past[start:stop])

    def keep(self, live: Sequence[int]) -> list[int]:
        """Only these rows, given in rising order; returns the new order: the last ones move into the places that are free."""
        count = len(live)
        late = [row for row in live if row >= count]
        order = [row if row in live else late.pop() for row in range(count)]
        for place, row in enumerate(order):
            if place != row:
                for block in (*self.layers, self.past):
                    block[place] = block[row]
        self.layers, self.past = [layer[:count] for layer in self.layers], self.past[:count]
        return order


def read_prompts(model: "LlamaForCausalLM", cache: Cache, prompts: Sequence[list[int]]) -> "Tensor":
    """Put prompts into an empty cache; returns each one's last hidden state [B, d]."""
    import torch

    level: list[list[int]] = [list(range(len(prompts)))]
    while level:
        deeper: list[list[int]] = []
        shared: list[Shared] = []
        for rows in level:
            start, stop = int(cache.past[rows[0]]), shared_prefix([prompts[row] for row in rows])
            if (len(rows) - 1) * (stop - start) >= WORTH_TOKENS:
                shared.append(Shared(rows, start, stop))
            children: dict[int, list[int]] = {}
            for row in rows:
                children.setdefault(prompts[row][stop], []).append(row)
            deeper += [child for child in children.values() if 1 < len(child) < len(rows)]
        for start, stop in _passes([found.stop - found.start for found in shared]):
            _read_shared(model, cache, prompts, shared[start:stop])
        level = deeper
    own = [prompt[past:] for prompt, past in zip(prompts, cache.past.tolist(), strict=True)]
    passes = _passes([len(tokens) for tokens in own])
    return torch.cat([read(model, cache.only(start, stop), own[start:stop]) for start, stop in passes])


def _read_shared(model: "LlamaForCausalLM", cache: Cache, prompts: Sequence[list[int]], shared: Sequence[Shared]) -> None:
    """Read each stretch once, in a cache of its own, and copy it to the rows that have it."""
    some = Cache.empty(model, len(shared), max(found.stop for found in shared))
    for place, (rows, start, _) in enumerate(shared):
        some.past[place] = start
        for layer, whole in zip(some.layers, cache.layers, strict=True):
            layer[place, :start] = whole[rows[0], :start]
    read(model, some, [prompts[rows[0]][start:stop] for rows, start, stop in shared])
    for place, (rows, start, stop) in enumerate(shared):
        cache.past[rows] = stop
        for layer, whole in zip(some.layers, cache.layers, strict=True):
            whole[rows, start:stop] = layer[place, start:stop]


def _passes(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours that go through the model together: from, to."""
    starts, room = [0], READ_TOKENS
    for place, size in enumerate(sizes):
        if size > room and place > starts[-1]:
            starts.append(place)
            room = READ_TOKENS
        room -= size
    return list(zip(starts, [*starts[1:], len(sizes)], strict=True)) if sizes else []


def read(model: "LlamaForCausalLM", cache: Cache, tokens: Sequence[list[int]]) -> "Tensor":
    """Append tokens to every row, at least one each; returns each row's last hidden state [B, d]."""
    import torch

    lengths = [len(row) for row in tokens]
    packed = pack(lengths, 0)
    owner = packed.cells // len(packed.mask)
    positions = cache.past[owner] + packed.positions
    flat = torch.tensor([token for row in tokens for token in row])
    hidden = blocks(model, model.model.embed_tokens(flat), positions, _attention(cache, packed, owner, positions))
    sizes = torch.tensor(lengths)
    cache.past += sizes
    return hidden[sizes.cumsum(0) - 1]


def _attention(cache: Cache, packed: Packed, owner: "Tensor", positions: "Tensor") -> Attend:
    """Attention of new tokens to all that their row holds; writes them into the cache first."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    spread, gather = movers(packed)
    longest, last, groups = len(packed.mask), int(positions.max()), cache.layers[0].shape[3]
    parts = []  # of every row a stretch of queries: where it starts, how far it looks, and its mask [B, 1, L, reach]
    for start in range(0, longest, QUERIES):
        places = cache.past[:, None] + torch.arange(start, min(start + QUERIES, longest))
        reach = min(int(places.max()), last) + 1
        unseen = (torch.arange(reach) > places[..., None])[:, None]
        parts.append((start, reach, unseen.to(cache.layers[0].dtype).masked_fill_(unseen, -torch.inf)))

    def attend(index: int, q: "Tensor", k: "Tensor", v: "Tensor") -> "Tensor":
        layer = cache.layers[index]
        layer[owner, positions] = torch.stack([k, v], 1)
        queries = spread(q).unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4)  # [B, G, R, L, D]: R heads share keys
        found = []
        for start, reach, mask in parts:
            some = queries[:, :, :, start : start + QUERIES]
            keys, values = (x.transpose(1, 2) for x in layer[:, :reach].unbind(2))
            # The heads of a group are so many more queries to the same keys, which are then read once.
            out = sdpa(some.flatten(2, 3), keys, values, attn_mask=mask.repeat(1, 1, some.shape[2], 1))
            found.append(out.unflatten(2, some.shape[2:4]))
        return gather(torch.cat(found, 3).permute(0, 3, 1, 2, 4)).flatten(1)

    return attend
