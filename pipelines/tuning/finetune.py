"""LoRA supervised fine-tuning of the base model: `python -m pipelines finetune --usecase support --night 2026-11-20`.

A killed run goes on from its last checkpoint; the loss curve and the settings are in MLflow. What is made there is found
again by the step's key: one run, one model, however often the training was killed.
"""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import NightStopped
from pipelines.foundation import contamination, corrections, datasets, embedded, protected, registry, rendering
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night, step
from pipelines.tuning import loop
from pipelines.tuning.batches import Row
from pipelines.tuning.meter import Meter

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

log = logging.getLogger("pipelines.finetune")


class Kept(NamedTuple):
    """A training whose adapter is in MLflow."""

    adapter: str  # URI
    run_id: str
    figures: dict  # see `loop.train`


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings."""
    system, labels = night.usecase.prompt(night.usecase.task.system), corrections.state(night.lake)
    return {"system prompt": system, "base model": embedded.revision(), "people's labels": labels}


@step(code=1, after="synthesize", sections=("task", "tuning"), extra=_inputs)
def finetune(night: Night) -> dict:
    """Train an adapter on all train rows up to this night and keep it in MLflow; raises NightStopped without train rows."""
    examples = choose(night)
    if not examples:
        raise NightStopped(
            f"finetune: there are no train rows up to {night.night}; look at `python -m pipelines status --usecase {night.usecase.name}`"
        )
    # Before the first step: an adapter of which nobody knows what is in it must never exist.
    told = ({"night": night.night, "model": night.key, "example_id": row["example_id"]} for row in examples)
    trained = night.lake.replace("trained", told, model=night.key)
    folder = embedded.prepare(Path(night.profile.state) / "models")
    scratch = Path(night.profile.state) / "checkpoints" / night.usecase.name / night.key
    kept = _find(night) or _train(night, folder, _encode(night, folder, examples), scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    _log_inputs(night, kept.run_id, examples)
    synthetic = sum(row["source"] == "synthetic" for row in examples)
    counts = {"rows": len(examples), "synthetic_rows": synthetic}
    return {"adapter": kept.adapter, "model": night.key, "run_id": kept.run_id, "trained": trained} | counts | kept.figures


def choose(night: Night) -> list[dict]:
    """The training rows: real and synthetic up to this night, the newest `max_rows`, in an order that only their ids decide.

    Rows that match the safety set, and what was made from them, are left out; `split` tells their number. Raises NightStopped
    where a row matches a sealed or an off-limits one, see `contamination.check`.
    """
    tuning, guard = night.usecase.tuning, protected.Guard(night)
    where = f"split = 'train' AND night <= '{night.night}'"
    rows = night.lake.read("examples", night.before("split")["examples"], where=where).to_pylist()
    held = {row["example_id"] for row in rows if guard.find(row["prompt"]) is not None}
    made = night.lake.read("synthetic", night.before("synthesize")["synthetic"], where=where).to_pylist()
    made = [row for row in made if row["parent_id"] not in held and guard.find(row["prompt"]) is None]
    rows = corrections.corrected(night.lake, [*(row for row in rows if row["example_id"] not in held), *made])
    real, made = ([row for row in rows if (row["source"] == "synthetic") is is_made] for is_made in (False, True))
    if tuning.rows_per_label:
        kept: dict[str, int] = {}
        chosen = []
        for row in sorted(real, key=lambda row: row["example_id"]):
            kept[row["label"]] = kept.get(row["label"], 0) + 1
            if kept[row["label"]] <= tuning.rows_per_label:
                chosen.append(row)
        real = chosen
    newest = sorted(real + made, key=lambda row: (row["day"] or row["night"], row["example_id"]), reverse=True)
    return contamination.check(night, sorted(newest[: tuning.max_rows or None], key=lambda row: row["example_id"]))


def _log_inputs(night: Night, run_id: str, examples: list[dict]) -> None:
    """The training set as the run's dataset inputs, real and synthetic rows apart."""
    tables = {"examples": night.before("split")["examples"], "synthetic": night.before("synthesize")["synthetic"]}
    sides: dict[str, list[dict]] = {table: [] for table in tables}
    for row in examples:
        sides["synthetic" if row["source"] == "synthetic" else "examples"].append(row)
    given = [datasets.Given(f"train.{table}", table, version, sides[table]) for table, version in tables.items()]
    datasets.log_inputs(night, run_id, "training", given)


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


def _train(night: Night, folder: Path, rows: list[Row], scratch: Path) -> Kept:
    """Train from the last checkpoint on, and keep the adapter."""
    run_id = _open_run(night)
    report = _report(registry.client(night), run_id)
    with Meter(night) as meter:

        def on_step(at: dict) -> None:
            report(at)
            meter.count(at["batch_tokens"])

        figures = loop.train(folder, rows, night.usecase.tuning, scratch, on_step)
    return _keep(night, run_id, scratch / "adapter", figures)


def _open_run(night: Night) -> str:
    """The MLflow run of this training: the one a killed try left, with what it had no time to write, else a new one."""
    left = registry.left_run(night)
    import mlflow

    tags = {registry.KEY_TAG: night.key, registry.NIGHT_TAG: night.night}
    with mlflow.start_run(left, run_name=f"finetune {night.night}", tags=tags) as run:
        params = night.usecase.tuning.model_dump() | {"base": embedded.NAME}
        params |= {f"{table}_version": night.before(step)[table] for table, step in (("examples", "split"), ("synthetic", "synthesize"))}
        mlflow.log_params({name: value for name, value in params.items() if name not in run.data.params})
        with scratch() as folder:  # not log_dict: its own temporary folder would outlive a kill
            (folder / "usecase.json").write_text(json.dumps(night.usecase.model_dump(mode="json"), indent=2), encoding="utf-8")
            mlflow.log_artifact(str(folder / "usecase.json"))
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


def _models(night: Night) -> "list[LoggedModel]":
    """The adapters that tries of this training began to keep, a finished one first."""
    client = registry.client(night)
    experiment = client.get_experiment_by_name(night.usecase.name)
    found = client.search_logged_models([experiment.experiment_id], f"tags.`{registry.KEY_TAG}` = '{night.key}'")
    return sorted(found, key=lambda model: (model.status != "READY", model.creation_timestamp))


def _find(night: Night) -> Kept | None:
    """The training that a killed try finished, and had no time to tell."""
    for model in _models(night):
        if model.status == "READY":
            log.info("trained already, its adapter is %s", model.model_id)
            return Kept(f"models:/{model.model_id}", model.source_run_id, json.loads(model.params["training"]))
    return None


def _keep(night: Night, run_id: str, adapter: Path, figures: dict) -> Kept:
    """Log the adapter as plain files of a LoggedModel and close the run; a model is READY when all of that is done."""
    import mlflow

    client = registry.client(night)
    begun = _models(night)
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metrics({name: float(value) for name, value in figures.items() if isinstance(value, (int, float))})
        tags = {registry.KEY_TAG: night.key, registry.NIGHT_TAG: night.night}
        params = {"base": embedded.NAME, "training": json.dumps(figures)}
        model = begun[0] if begun else mlflow.initialize_logged_model(name="adapter", tags=tags, params=params)
        client.log_model_artifacts(model.model_id, str(adapter))
    client.finalize_logged_model(model.model_id, "READY")
    return Kept(f"models:/{model.model_id}", run_id, figures)
