"""A Llama forward pass over rows laid end to end, with their common beginning computed once.

Notable: no padding reaches a matrix product, and the tokens that all rows share (the system text) cost one row, not
one each. Only attention sees a padded grid. The result is that of the usual padded forward up to float noise.

Layout of the flat token axis: [shared prefix (P)] [row 0] [row 1] ... ; row r has its own tokens at positions P, P+1, ...
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

Attend = Callable[[int, "Tensor", "Tensor", "Tensor"], "Tensor"]


class Packed(NamedTuple):
    """Rows laid end to end. B rows, L the longest row, T tokens in all, P of them shared."""

    positions: "Tensor"  # [T] int64, rotary position of each token
    grid: "Tensor"  # [B * L] int64, the row token of each cell; padding cells point one past the last token
    cells: "Tensor"  # [T - P] int64, the cell of each row token
    mask: "Tensor"  # [L, P + L] bool, what a row's token may look at
    prefix: int
    rows: int


class Movers(NamedTuple):
    """Between the flat token axis and the padded grid."""

    spread: Callable[["Tensor"], "Tensor"]
    gather: Callable[["Tensor"], "Tensor"]


def shared_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Number of tokens that all rows begin with; every row keeps at least one token of its own."""
    first, last = min(rows), max(rows)
    limit = min(len(row) for row in rows) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def pack(lengths: Sequence[int], prefix: int) -> Packed:
    """The layout of rows with `lengths` tokens of their own after a shared prefix of `prefix` tokens."""
    import torch

    sizes = torch.tensor(lengths)
    longest = int(sizes.max())
    inside = torch.arange(longest)[None] < sizes[:, None]
    cells = inside.flatten().nonzero().squeeze(1)
    grid = torch.full([inside.numel()], len(cells))
    grid[cells] = torch.arange(len(cells))
    positions = torch.cat([torch.arange(prefix), prefix + cells % longest])
    mask = torch.ones(longest, prefix + longest, dtype=torch.bool).tril(prefix)
    return Packed(positions, grid, cells, mask, prefix, len(lengths))


def movers(packed: Packed) -> "Movers":
    """Flat row tokens [T - P, ...] to the padded grid [B, L, ...] and back.

    Each is the other's transpose, and saying so to autograd spares its index_put (a sixth of a training step).
    """
    import torch

    if len(packed.cells) == len(packed.grid):  # no padding: nothing moves
        return Movers(lambda x: x.unflatten(0, (packed.rows, -1)), lambda x: x.flatten(0, 1))

    def spread(x: "Tensor") -> "Tensor":
        return torch.cat([x, x.new_zeros(1, *x.shape[1:])])[packed.grid].unflatten(0, (packed.rows, -1))

    def gather(x: "Tensor") -> "Tensor":
        return x.flatten(0, 1)[packed.cells]

    class Spread(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: object, x: "Tensor") -> "Tensor":
            return spread(x)

        @staticmethod
        def backward(_ctx: object, grad: "Tensor") -> "Tensor":
            return gather(grad)

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: object, x: "Tensor") -> "Tensor":
            return gather(x)

        @staticmethod
        def backward(_ctx: object, grad: "Tensor") -> "Tensor":
            return spread(grad)

    return Movers(Spread.apply, Gather.apply)


def attention(packed: Packed) -> Attend:
    """Attention within each row and to the shared prefix; q [T, H, D], k and v [T, G, D] -> [T, H * D]."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    p, rows = packed.prefix, packed.rows
    spread, gather = movers(packed)

    def attend(_layer: int, q: "Tensor", k: "Tensor", v: "Tensor") -> "Tensor":
        shared = [x[:p].expand(rows, *x[:p].shape) for x in (k, v)]
        keys, values = (torch.cat([head, spread(x[p:])], 1).transpose(1, 2) for head, x in zip(shared, (k, v), strict=True))
        out = sdpa(spread(q[p:]).transpose(1, 2), keys, values, attn_mask=packed.mask, enable_gqa=True)
        out = gather(out.transpose(1, 2)).flatten(1)
        if not p:
            return out
        first = sdpa(*(x[:p].transpose(0, 1) for x in (q, k, v)), is_causal=True, enable_gqa=True)
        return torch.cat([first.transpose(0, 1).flatten(1), out])

    return attend


def blocks(model: "LlamaForCausalLM", hidden: "Tensor", positions: "Tensor", attend: Attend, layers: range | None = None) -> "Tensor":
    """Run `layers` (default: all) of the model on hidden [T, d]; linears are called as modules, so LoRA layers work."""
    import torch
    from torch.nn.functional import rms_norm, silu

    body = model.model
    cos, sin = (x[0, :, None] for x in body.rotary_emb(hidden[None], positions[None]))
    half = cos.shape[-1] // 2
    sin = torch.cat([-sin[..., :half], sin[..., half:]], -1)

    def turn(x: "Tensor") -> "Tensor":
        x = x.view(len(x), -1, 2 * half)
        return torch.addcmul(x * cos, x.roll(half, -1), sin)

    for index in layers or range(len(body.layers)):
        layer = body.layers[index]
        attn, mlp = layer.self_attn, layer.mlp
        eps = layer.input_layernorm.variance_epsilon
        x = rms_norm(hidden, hidden.shape[-1:], layer.input_layernorm.weight, eps)
        v = attn.v_proj(x)
        q, k = turn(attn.q_proj(x)), turn(attn.k_proj(x))
        hidden = hidden + attn.o_proj(attend(index, q, k, v.view(k.shape)))
        x = rms_norm(hidden, hidden.shape[-1:], layer.post_attention_layernorm.weight, eps)
        hidden = hidden + mlp.down_proj(silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    return hidden
