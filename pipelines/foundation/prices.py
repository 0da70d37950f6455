"""What calls and training cost: from a profile's prices, exact in decimal dollars."""

import json
from decimal import Decimal

from pipelines.foundation.messages import Request, Usage
from pipelines.sections import Prices

MILLION = Decimal(1_000_000)
FRAME = 64  # tokens that a chat template adds to a system text and a prompt, at most


def cost(prices: Prices, usage: Usage, batch: bool = False) -> Decimal:
    """Dollars of one call; `batch`: at a batch's share."""
    cached = prices.input if prices.cached is None else prices.cached
    full = (usage.prompt - usage.cached) * prices.input + usage.cached * cached + usage.completion * prices.output
    return full / MILLION * (prices.batch if batch else 1)


def bound(prices: Prices, request: Request, batch: bool = False) -> Decimal:
    """The most that a call can cost: a byte-level tokenizer makes no more tokens of a text than it has bytes."""
    texts = (request.system, request.prompt, json.dumps(request.schema) if request.schema else "")
    prompt = sum(len(text.encode("utf-8", "replace")) for text in texts) + FRAME
    dearest = prices.model_copy(update={"input": max(prices.input, prices.cached or 0), "cached": None})
    return cost(dearest, Usage(prompt, request.max_new_tokens), batch)


def training(prices: Prices, tokens: int, seconds: float) -> Decimal:
    """Dollars of training on so many tokens for so many seconds."""
    return tokens * prices.training / MILLION + Decimal(str(round(seconds, 3))) * prices.second
