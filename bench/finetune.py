"""Training speed beside TRL, same model, rows and LoRA, in one run: ours, SFTTrainer at its defaults, SFTTrainer tuned.

Tokens a second counts each row's own tokens, never padding; the median step after two warm-up steps, rounds interleaved.
CPU seconds per 1,000 tokens are the steadier figure on a shared machine. All 30 layers are trained by all three: no
gain of `frozen_layers` is in the ratio. Needs trl and datasets.

    python -m bench.finetune [--data FOLDER]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import banking77
from pipelines.foundation import embedded
from pipelines.tuning import loop

if TYPE_CHECKING:
    pass

ROUNDS, STEPS, WARM_UP = 2, 7, 2
BATCH = 32


class Speed(NamedTuple):
    """Figures of each measured step."""

    wall: list[float]  # tokens a second
    cpu: list[float]  # CPU seconds per 1,000 tokens


class Clock:
    """Notes the time at every step's end."""

    def __init__(self) -> None:
        self.at = [(time.perf_counter(), time.process_time())]

    def tick(self) -> None:
        """A step ended."""
        self.at.append((time.perf_counter(), time.process_time()))

    def speed(self, tokens_a_step: float) -> Speed:
        """Speeds of the steps after the warm-up."""
        pairs = list(zip(self.at[WARM_UP:], self.at[WARM_UP + 1 :], strict=False))
        wall = [tokens_a_step / (after[0] - before[0]) for before, after in pairs]
        return Speed(wall, [1000 * (after[1] - before[1]) / tokens_a_step for before, after in pairs])


def ours(base: Path, rows: list[loop.Row]) -> Speed:
    """`pipelines.tuning.loop` with all layers trained."""
    recipe = banking77.RECIPE.model_copy(update={"epochs": STEPS * BATCH / len(rows), "batch_rows": BATCH, "dropout": 0.0})
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        report = loop.train(base, rows, recipe, Path(scratch), lambda _: clock.tick())
    return clock.speed(report["tokens"] / report["steps"])


def trl(base: Path, rows: list[loop.Row], settings: dict) -> Speed:
    """SFTTrainer with the same LoRA and `settings` over its defaults."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    clock = Clock()

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            clock.tick()

    tokenizer = embedded.load_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    texts = [{"prompt": tokenizer.decode(row.prompt_ids), "completion": tokenizer.decode(row.completion_ids[:-1])} for row in rows]
    with tempfile.TemporaryDirectory() as scratch:
        fixed = {"use_cpu": True, "max_steps": STEPS, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
        config: SFTConfig = SFTConfig(output_dir=scratch, **fixed, **settings)
        lora = LoraConfig(r=32, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = SFTTrainer(
            model, args=config, train_dataset=Dataset.from_list(texts), processing_class=tokenizer, peft_config=lora, callbacks=[Ticks()]
        )
        trainer.train()
    size = sum(len(row.prompt_ids) + len(row.completion_ids) for row in rows) / len(rows)
    return clock.speed(size * config.per_device_train_batch_size)


def main() -> None:
    """Print the table."""
    import torch

    parser = argparse.ArgumentParser(description="Training speed beside TRL")
    parser.add_argument("--data", type=Path, help="folder with train.csv")
    folder = banking77.data_folder(parser.parse_args().data)
    base = embedded.prepare(Path(".nightshift/models"))
    examples = banking77.split(banking77.read(folder), 10).train
    rows = banking77.rows(embedded.load_tokenizer(base), examples)
    tuned = {
        "bf16": embedded.fast_dtype() == torch.bfloat16,  # autocast only where it is faster
        "gradient_checkpointing": False,
        "per_device_train_batch_size": BATCH,
        "train_sampling_strategy": "group_by_length",
        "loss_type": "chunked_nll",  # vocabulary projection at target tokens only
    }
    found = {"ours": [], "TRL, tuned": [], "TRL, defaults": []}
    for _ in range(ROUNDS):
        found["ours"].append(ours(base, rows))
        found["TRL, tuned"].append(trl(base, rows, tuned))
        found["TRL, defaults"].append(trl(base, rows, {}))
    wall = {name: statistics.median(x for speed in speeds for x in speed.wall) for name, speeds in found.items()}
    cpu = {name: statistics.median(x for speed in speeds for x in speed.cpu) for name, speeds in found.items()}
    print(f"\n{len(rows)} rows, {torch.get_num_threads()} threads\n{'':16}{'tokens/s':>10}{'ours is':>10}{'CPU s/1k':>10}{'ours is':>10}")
    for name in found:
        print(f"{name:16}{wall[name]:10.0f}{wall['ours'] / wall[name]:9.1f}x{cpu[name]:10.2f}{cpu[name] / cpu['ours']:9.1f}x")


if __name__ == "__main__":
    main()
