"""The LoRA training loop: rows of token ids in, an adapter in `checkpoint/adapter` out; a killed run goes on.

Notable: the frozen lower layers run once, not every epoch (their output per row is kept); the vocabulary projection is
computed at target tokens only; rows share the computation of what they begin with (`pipelines.foundation.packed`). The
state is one safetensors file, replaced atomically. Everything random is a pure function of the seed and the step.
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import NightStopped
from pipelines.foundation.embedded import fast_dtype
from pipelines.foundation.packed import attention, blocks
from pipelines.sections import Tuning
from pipelines.tuning import lora
from pipelines.tuning.batches import Batch, Row, batches_per_epoch, collate, cut, members

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

KEPT_BYTES = 2**30  # frozen activations above this are computed again each step


class _State(NamedTuple):
    """What a checkpoint holds; the tensors are written in place by the training."""

    tensors: "dict[str, Tensor]"  # weights, exp_avg, exp_avg_sq: [parameters]; step: []
    figures: dict  # step, tokens, seconds, losses


def train(model_folder: Path, rows: Sequence[Row], tuning: Tuning, checkpoint: Path, on_step: Callable[[dict], None]) -> dict:
    """Train, and save the adapter with peft in `checkpoint/adapter`; after a kill at any point, call it again.

    `on_step` gets step, steps, loss (nats a token), learning_rate, tokens (so far, each row counted in full), batch_tokens
    (of this step) and seconds (of all tries); where it raises NightStopped, a checkpoint is left. Returns steps, tokens,
    seconds, loss_first, loss_last (mean of the last tenth of the steps), tokens_per_second and resumed_at (a step; 0:
    from the start).
    """
    import torch
    from transformers import AutoModelForCausalLM

    clock = saved = time.perf_counter()
    torch.manual_seed(tuning.seed)
    rows = [cut(row, tuning.max_tokens) for row in rows]
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32, local_files_only=True)
    adapter = lora.attach(model, tuning, fast_dtype())
    key = _key(model_folder, rows, tuning)
    state = _start(adapter.flat, key, checkpoint)
    figures, resumed_at = state.figures, state.figures["step"]
    steps = max(1, round(batches_per_epoch(len(rows), tuning.batch_rows) * tuning.epochs))
    optimiser = torch.optim.AdamW([adapter.flat], betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    optimiser.state[adapter.flat] = {name: state.tensors[name] for name in ("step", "exp_avg", "exp_avg_sq")}
    body = _Body(model, rows, tuning.frozen_layers)
    for step in range(resumed_at, steps):
        torch.manual_seed(tuning.seed * 1_000_003 + step)  # dropout
        batch = collate(rows, members(len(rows), tuning.batch_rows, tuning.seed, step))
        rate = optimiser.param_groups[0]["lr"] = learning_rate(tuning, step, steps)
        loss = body.loss(batch)
        loss.backward()
        adapter.flat.grad.div_(adapter.flat.grad.norm().clamp(min=1))
        optimiser.step()
        adapter.flat.grad.zero_()
        clock, seconds = time.perf_counter(), time.perf_counter() - clock
        figures |= {"step": step + 1, "tokens": figures["tokens"] + batch.size, "seconds": figures["seconds"] + seconds}
        figures["losses"].append(loss.item())
        told = {name: figures[name] for name in ("step", "tokens", "seconds")} | {"batch_tokens": batch.size}
        try:
            on_step(told | {"steps": steps, "loss": figures["losses"][-1], "learning_rate": rate})
        except NightStopped:  # say at a cap: what is paid for is kept
            _save(state, key, checkpoint)
            raise
        if clock - saved >= tuning.checkpoint_seconds or step + 1 == steps:
            _save(state, key, checkpoint)
            saved = clock
    _keep(adapter, checkpoint / "adapter")
    return _report(figures, resumed_at)


def learning_rate(tuning: Tuning, step: int, steps: int) -> float:
    """The rate of a step (from 0): a linear rise, then a cosine or linear fall to 0."""
    rise = round(tuning.warmup_share * steps)
    if step < rise:
        return tuning.learning_rate * (step + 1) / rise
    left = (steps - step) / (steps - rise)
    return tuning.learning_rate * (left if tuning.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


class _Body:
    """The forward pass of a batch, with the frozen layers' output of every row kept between epochs."""

    def __init__(self, model: "LlamaForCausalLM", rows: Sequence[Row], frozen: int) -> None:
        size = model.config.hidden_size * 4 * sum(len(row.prompt_ids) + len(row.completion_ids) for row in rows)
        self.model = model
        self.frozen = range(frozen)
        self.trained = range(frozen, model.config.num_hidden_layers)
        self.kept: dict[int, Tensor] = {}
        self.keep = bool(frozen) and size <= KEPT_BYTES

    def loss(self, batch: Batch) -> "Tensor":
        """Weighted mean of the targets' cross-entropy in nats."""
        from torch.nn.functional import cross_entropy

        model, packed = self.model, batch.packed
        hidden = blocks(model, self._lower(batch), packed.positions, attention(packed), self.trained)
        logits = model.lm_head(model.model.norm(hidden[batch.places]))
        return cross_entropy(logits, batch.targets, reduction="none") @ batch.weights

    def _lower(self, batch: Batch) -> "Tensor":
        """What the frozen layers give [T, d], from memory where all rows are known."""
        import torch

        p = batch.packed.prefix
        if all(member in self.kept for member in batch.members):
            rows = [self.kept[member] for member in batch.members]
            return torch.cat([rows[0][:p], *(row[p:] for row in rows)])
        with torch.no_grad():
            hidden = self.model.model.embed_tokens(batch.tokens)
            if self.frozen:
                hidden = blocks(self.model, hidden, batch.packed.positions, attention(batch.packed), self.frozen)
            if self.keep:
                lengths = (torch.bincount(batch.packed.cells // batch.packed.mask.shape[0])).tolist()
                for member, own in zip(batch.members, hidden[p:].split(lengths), strict=True):
                    self.kept[member] = torch.cat([hidden[:p], own])
        return hidden


def _key(model_folder: Path, rows: Sequence[Row], tuning: Tuning) -> str:
    """What a checkpoint belongs to: the model's configuration, the rows and all settings that change the result."""
    settings = tuning.model_dump(mode="json") | {"checkpoint_seconds": None}
    parts = ((model_folder / "config.json").read_text(), rows, settings)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _start(flat: "Tensor", key: str, checkpoint: Path) -> _State:
    """The state to go on from: the checkpoint's if it has the same key, else a fresh one; `flat` gets its weights."""
    import torch
    from safetensors import safe_open

    names = ("exp_avg", "exp_avg_sq")
    tensors = {"weights": flat, "step": torch.tensor(0.0)} | {name: torch.zeros_like(flat) for name in names}
    state = _State(tensors, {"step": 0, "tokens": 0, "seconds": 0.0, "losses": []})
    path = checkpoint / "state.safetensors"
    if path.is_file():
        with safe_open(path, "pt") as file:
            if file.metadata()["key"] == key:
                for name, tensor in tensors.items():
                    tensor.copy_(file.get_tensor(name))
                state.figures.update(json.loads(file.metadata()["figures"]))
    return state


def _save(state: _State, key: str, checkpoint: Path) -> None:
    """Replace the checkpoint in one rename: a kill leaves the old one or the new one."""
    from safetensors.torch import save_file

    checkpoint.mkdir(parents=True, exist_ok=True)
    part = checkpoint / "state.part"
    save_file(state.tensors, part, metadata={"key": key, "figures": json.dumps(state.figures)})
    os.replace(part, checkpoint / "state.safetensors")


def _keep(adapter: lora.Adapter, folder: Path) -> None:
    """Save the adapter; the folder appears whole."""
    part = folder.with_name("adapter.part")
    for old in (part, folder):
        shutil.rmtree(old, ignore_errors=True)
    adapter.model.save_pretrained(part)
    os.rename(part, folder)


def _report(figures: dict, resumed_at: int) -> dict:
    losses = figures["losses"]
    last = losses[-max(1, len(losses) // 10) :]
    return {
        "steps": figures["step"],
        "tokens": figures["tokens"],
        "seconds": figures["seconds"],
        "loss_first": losses[0],
        "loss_last": sum(last) / len(last),
        "tokens_per_second": figures["tokens"] / figures["seconds"],
        "resumed_at": resumed_at,
    }
