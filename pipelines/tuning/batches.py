"""Training rows to packed batches, in an order that only the seed and the step decide.

Notable: a batch is `pipelines.foundation.packed` rows, so it needs no sorting by length, and any batch can be built again
from its step number: a resumed run sees the same rows in the same order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.packed import Packed, pack, shared_prefix

if TYPE_CHECKING:
    from torch import Tensor


class Row(NamedTuple):
    """One example as token ids; the loss is on the completion (with its end-of-turn token), token by token times `weights`."""

    prompt_ids: list[int]
    completion_ids: list[int]
    weights: Sequence[float] = ()  # of the completion's tokens; empty: 1 each


class Batch(NamedTuple):
    """Rows of one step, without their last token (nothing follows it). T flat tokens, N of them with a target."""

    members: list[int]  # which rows
    packed: Packed
    tokens: "Tensor"  # [T] int64
    places: "Tensor"  # [N] int64, flat tokens whose next token is a target
    targets: "Tensor"  # [N] int64
    weights: "Tensor"  # [N] float, they add up to 1
    size: int  # tokens of the rows, each counted in full


def cut(row: Row, max_tokens: int) -> Row:
    """At most `max_tokens` tokens: the prompt loses its beginning, then the completion its end; one prompt token stays."""
    completion = row.completion_ids[: max_tokens - 1]
    return Row(row.prompt_ids[-(max_tokens - len(completion)) :], completion, row.weights[: max_tokens - 1])


def members(rows: int, batch_rows: int, seed: int, step: int) -> list[int]:
    """The rows of a step (from 0): a new shuffle each epoch, dealt into batches whose sizes differ by one row at most."""
    import torch

    epoch, index = divmod(step, batches_per_epoch(rows, batch_rows))
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
    return order[index :: batches_per_epoch(rows, batch_rows)]


def batches_per_epoch(rows: int, batch_rows: int) -> int:
    """Steps in one epoch."""
    return max(1, -(-rows // batch_rows))


def collate(rows: Sequence[Row], chosen: list[int]) -> Batch:
    """The batch of the chosen rows."""
    import torch

    picked = [rows[index] for index in chosen]
    inputs = [(row.prompt_ids + row.completion_ids)[:-1] for row in picked]
    prefix = min(shared_prefix(inputs), *(len(row.prompt_ids) - 1 for row in picked))
    flat = inputs[0][:prefix] + [token for tokens in inputs for token in tokens[prefix:]]
    places, weights, end = [], [], prefix
    for row, tokens in zip(picked, inputs, strict=True):
        end += len(tokens) - prefix
        places += range(end - len(row.completion_ids), end)
        weights += row.weights or [1.0] * len(row.completion_ids)
    scale = torch.tensor(weights)
    return Batch(
        chosen,
        pack([len(tokens) - prefix for tokens in inputs], prefix),
        torch.tensor(flat),
        torch.tensor(places),
        torch.tensor([token for row in picked for token in row.completion_ids]),
        scale / scale.sum(),
        sum(map(len, inputs)) + len(inputs),
    )
