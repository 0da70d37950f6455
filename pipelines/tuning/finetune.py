"""LoRA supervised fine-tuning of the base model: `python -m pipelines finetune --usecase support --night 2026-11-20`.

A killed run goes on from its last checkpoint; the loss curve and the settings are in MLflow.
"""

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import NightStopped
from pipelines.foundation import embedded, protected, registry, rendering
from pipelines.foundation.step import Night, step
from pipelines.tuning import loop
from pipelines.tuning.batches import Row
from pipelines.tuning.meter import Meter

log = logging.getLogger("pipelines.finetune")


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings."""
    return {"system prompt": night.usecase.prompt(night.usecase.task.system), "base model": embedded.revision()}


@step(code=1, after="synthesize", sections=("task", "tuning"), extra=_inputs)
def finetune(night: Night) -> dict:
    """Train an adapter on all train rows up to this night and keep it in MLflow; raises NightStopped without train rows."""
    examples = choose(night)
    if not examples:
        raise NightStopped(
            f"finetune: there are no train rows up to {night.night}; look at `python -m pipelines status --usecase {night.usecase.name}`"
        )
    folder = embedded.prepare(Path(night.profile.state) / "models")
    rows = _encode(night, folder, examples)
    client = registry.client(night)
    run_id = _open_run(night)
    scratch = Path(night.profile.state) / "checkpoints" / night.usecase.name / night.key
    report = _report(client, run_id)
    with Meter(night) as meter:

        def on_step(at: dict) -> None:
            report(at)
            meter.count(at["batch_tokens"])

        figures = loop.train(folder, rows, night.usecase.tuning, scratch, on_step)
    adapter = _keep(night, run_id, scratch / "adapter", figures)
    shutil.rmtree(scratch)
    synthetic = sum(row["source"] == "synthetic" for row in examples)
    return {"adapter": adapter, "model": night.key, "run_id": run_id, "rows": len(rows), "synthetic_rows": synthetic} | figures


def choose(night: Night) -> list[dict]:
    """The training rows: real and synthetic up to this night, the newest `max_rows`, in an order that only their ids decide.

    Rows that match the safety set, and what was made from them, are left out; `split` tells their number.
    """
    tuning, guard = night.usecase.tuning, protected.Guard(night)
    where = f"split = 'train' AND night <= '{night.night}'"
    real = night.lake.read("examples", night.before("split")["examples"], where=where).to_pylist()
    held = {row["example_id"] for row in real if guard.find(row["prompt"]) is not None}
    real = [row for row in real if row["example_id"] not in held]
    if tuning.rows_per_label:
        kept: dict[str, int] = {}
        chosen = []
        for row in sorted(real, key=lambda row: row["example_id"]):
            kept[row["label"]] = kept.get(row["label"], 0) + 1
            if kept[row["label"]] <= tuning.rows_per_label:
                chosen.append(row)
        real = chosen
    made = night.lake.read("synthetic", night.before("synthesize")["synthetic"], where=where).to_pylist()
    made = [row for row in made if row["parent_id"] not in held and guard.find(row["prompt"]) is None]
    newest = sorted(real + made, key=lambda row: (row["day"] or row["night"], row["example_id"]), reverse=True)
    return sorted(newest[: tuning.max_rows or None], key=lambda row: row["example_id"])


def _encode(night: Night, folder: Path, examples: list[dict]) -> list[Row]:
    """Token ids of the prompt and of the completion with its end-of-turn token."""
    tokenizer = embedded.load_tokenizer(folder)
    system = night.usecase.prompt(night.usecase.task.system)
    prompts = [rendering.render(tokenizer, system, row["prompt"]) for row in examples]
    answers = [rendering.completion(night.usecase, row["label"], row["response"]) + tokenizer.eos_token for row in examples]
    labels = [rendering.words(night.usecase, row["label"] or "") if "label" in night.usecase.task.answer else "" for row in examples]
    ids, answer_ids, label_ids = (tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (prompts, answers, labels))
    weight = night.usecase.tuning.label_weight
    return [
        Row(prompt, answer, [weight] * len(label) + [1.0] * (len(answer) - len(label)))
        for prompt, answer, label in zip(ids, answer_ids, label_ids, strict=True)
    ]


def _open_run(night: Night) -> str:
    """The MLflow run of this training: the one a killed try left, else a new one."""
    import mlflow

    tag = f"tags.`{registry.KEY_TAG}` = '{night.key}'"
    found = mlflow.search_runs(filter_string=tag, output_format="list", max_results=1)
    if found:
        return found[0].info.run_id
    tags = {registry.KEY_TAG: night.key, registry.NIGHT_TAG: night.night}
    with mlflow.start_run(run_name=f"finetune {night.night}", tags=tags) as run:
        mlflow.log_params(night.usecase.tuning.model_dump() | {"base": embedded.NAME})
        mlflow.log_dict(night.usecase.model_dump(), "usecase.json")
        for table, before in (("examples", "split"), ("synthetic", "synthesize")):
            mlflow.log_param(f"{table}_version", night.before(before)[table])
    return run.info.run_id


def _report(client: "registry.MlflowClient", run_id: str) -> Callable[[dict], None]:
    """What each optimiser step is told to: MLflow always, a bar on a terminal, else a plain line every tenth of the way."""
    from mlflow.entities import Metric
    from tqdm import tqdm

    bar = tqdm(unit="step", desc="finetune") if sys.stderr.isatty() else None

    def report(at: dict) -> None:
        stamp = int(at["seconds"] * 1000)
        names = ("loss", "learning_rate")
        client.log_batch(run_id, [Metric(name, float(at[name]), stamp, at["step"]) for name in names])
        if bar is not None:
            bar.total = at["steps"]
            bar.set_postfix(loss=f"{at['loss']:.3f}")
            bar.update(at["step"] - bar.n)
        elif at["step"] % max(1, at["steps"] // 10) == 0 or at["step"] == at["steps"]:
            log.info(
                "step %d of %d, loss %.3f, %.0f tokens a second",
                at["step"],
                at["steps"],
                at["loss"],
                at["tokens"] / max(at["seconds"], 1e-9),
            )

    return report


def _keep(night: Night, run_id: str, adapter: Path, figures: dict) -> str:
    """Log the adapter as plain files of a LoggedModel and close the run; returns the model's URI."""
    import mlflow

    client = registry.client(night)
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metrics({name: float(value) for name, value in figures.items() if isinstance(value, (int, float))})
        tags = {registry.KEY_TAG: night.key, registry.NIGHT_TAG: night.night}
        model = mlflow.initialize_logged_model(name="adapter", tags=tags, params={"base": embedded.NAME})
        client.log_model_artifacts(model.model_id, str(adapter))
        mlflow.finalize_logged_model(model.model_id, "READY")
    return f"models:/{model.model_id}"
