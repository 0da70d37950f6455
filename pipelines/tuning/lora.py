"""A peft LoRA adapter whose layers run as one fused product, its parameters in one flat buffer.

Notable: the forward and backward pass of a LoRA layer add the low-rank part inside the big product's result (addmm)
instead of scaling and adding whole activations; one flat tensor makes the optimiser and the checkpoint a
matter of one tensor each. The adapter is saved by peft and loads with PeftModel.from_pretrained.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from torch import Tensor
    from torch.autograd.function import FunctionCtx as Context
    from torch.nn import Module
    from transformers import LlamaForCausalLM

    from pipelines.sections import Tuning


class Adapter(NamedTuple):
    """A model with LoRA layers, and its trainable parameters as one flat tensor with a flat gradient."""

    model: "PeftModel"
    flat: "Tensor"


def attach(model: "LlamaForCausalLM", tuning: "Tuning", dtype: "torch.dtype | None" = None) -> Adapter:
    """Put LoRA on the linears of the layers above `frozen_layers`; the other weights are frozen, theirs go to `dtype`.

    Raises UserError when `target_modules` names none, or `frozen_layers` leaves none.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import Linear

    linears = {name.rsplit(".", 1)[-1] for name, module in model.model.layers.named_modules() if isinstance(module, torch.nn.Linear)}
    targets = linears if tuning.target_modules == "all-linear" else set(tuning.target_modules)
    layers = list(range(tuning.frozen_layers, model.config.num_hidden_layers))
    if not layers or not targets or targets - linears:
        most = model.config.num_hidden_layers - 1
        raise UserError(f"tuning: target_modules must be all-linear or among {sorted(linears)}, frozen_layers at most {most}")
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=sorted(targets),
        layers_to_transform=layers,
        layers_pattern="layers",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft asks by transformers' old name
        peft_model = get_peft_model(model, config)
    for module in peft_model.modules():
        if isinstance(module, Linear):
            module.base_layer.to(dtype)
            module.forward = functools.partial(_forward, module)
    return Adapter(peft_model, _flatten([p for p in peft_model.parameters() if p.requires_grad]))


def _flatten(parameters: "Sequence[Tensor]") -> "Tensor":
    """One flat tensor that the parameters, and its gradient that their gradients, are views of."""
    import torch

    flat = torch.cat([p.detach().flatten() for p in parameters])
    flat.grad = torch.zeros_like(flat)
    for p, data, grad in zip(parameters, *(x.split([p.numel() for p in parameters]) for x in (flat, flat.grad)), strict=True):
        p.data, p.grad = data.view_as(p), grad.view_as(p)
    return flat


def _forward(module: "Module", x: "Tensor") -> "Tensor":
    import torch

    a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
    rate = getattr(module.lora_dropout["default"], "p", 0.0) if module.training else 0.0  # Identity has no p
    keep = torch.empty(len(x), len(a)).bernoulli_(1 - rate).div_(1 - rate) if rate else None
    return _function().apply(x, module.base_layer.weight, a, b, module.scaling["default"], keep)


@functools.cache
def _function() -> "type":
    import torch

    class Fused(torch.autograd.Function):
        """y = x W' + scale * (keep * x A') B', in the weight's precision for the big product."""

        @staticmethod
        def forward(ctx: "Context", x: "Tensor", w: "Tensor", a: "Tensor", b: "Tensor", scale: float, keep: "Tensor | None") -> "Tensor":
            h = x @ a.t()
            if keep is not None:
                h *= keep
            ctx.save_for_backward(x, w, a, b, h, keep)
            ctx.scale = scale
            y = torch.nn.functional.linear(x.to(w.dtype), w).to(x.dtype)
            return y.addmm_(h, b.t(), alpha=scale)

        @staticmethod
        def backward(ctx: "Context", grad: "Tensor") -> "tuple[Tensor | None, ...]":
            x, w, a, b, h, keep = ctx.saved_tensors
            down = (grad @ b) * ctx.scale
            if keep is not None:
                down *= keep
            dx = None
            if ctx.needs_input_grad[0]:
                dx = (grad.to(w.dtype) @ w).to(grad.dtype).addmm_(down, a)
            return dx, None, down.t() @ x, (grad.t() @ h) * ctx.scale, None, None

    return Fused
