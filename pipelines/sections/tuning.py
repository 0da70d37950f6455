"""What the model reads and writes, and how it is trained."""

from typing import Literal

from pydantic import Field

from pipelines.sections.base import Section


class Task(Section):
    """What the model reads and writes: one rendering for training, evaluation and serving."""

    system: str = Field("", description="file under prompts/ with the system text; empty: an empty system text")
    answer: Literal["label", "reply", "label_reply"] = Field("label_reply", description="what a completion holds, label on the first line")
    label_words: bool = Field(True, description="write a label as words (card arrival) rather than its name (card_arrival)")
    max_new_tokens: int = 64


class Tuning(Section):
    """LoRA supervised fine-tuning: which rows, and how the adapter is trained."""

    max_rows: int = Field(0, ge=0, description="newest training rows used; 0: all")
    rows_per_label: int = Field(0, ge=0, description="real rows a label, chosen by hash; 0: all")
    epochs: float = Field(2, gt=0, description="passes over the rows; a fraction ends within a pass")
    learning_rate: float = Field(1e-3, gt=0, description="peak step size of AdamW")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="how the learning rate falls to 0 afterwards")
    label_weight: float = Field(1.0, gt=0, description="weight of a label's tokens in the loss where a reply's tokens weigh 1")
    rank: int = Field(32, ge=1, description="rank of the adapter")
    alpha: float = Field(32, gt=0, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inner activations dropped in training")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="linears with an adapter, say [q_proj, v_proj]"
    )
    frozen_layers: int = Field(0, ge=0, description="lower layers without an adapter; they run once, not every epoch")
    batch_rows: int = Field(32, ge=1, description="rows a step")
    max_tokens: int = Field(256, ge=2, description="a longer row loses the beginning of its prompt")
    seed: int = Field(0, description="order of the rows, first weights, dropout")
    checkpoint_seconds: float = Field(30, ge=0, description="time between two checkpoints")
