"""A model's answers to rows, each generated once: kept by model, rendering and example, and used again on whatever night.

A killed evaluation loses at most one chunk of rows.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.foundation import decoding, embedded, registry, rendering
from pipelines.foundation.registry import Model
from pipelines.foundation.step import Night, fingerprint

CHUNK = 128  # rows generated between two writes
log = logging.getLogger("pipelines.evaluate")


class Answered(NamedTuple):
    """Rows of the table `predictions` for this night, in the order of the examples, and how many of them are new."""

    rows: list[dict]
    generated: int


def _labels(night: Night, examples: Sequence[dict]) -> list[str]:
    """The labels that may be answered: the contract's, else those of the sealed rows; none where the task has no label."""
    if "label" not in night.usecase.task.answer:
        return []
    return night.usecase.contract.labels or sorted({row["label"] for row in examples if row["label"] is not None})


def answer_all(night: Night, model: Model, examples: Sequence[dict], labelled: Sequence[dict] | None = None) -> Answered:
    """Every example answered by one model; an example too long for the model has no row.

    `labelled` are the rows whose labels may be answered where the contract names none and the examples have none.
    """
    labels = _labels(night, examples if labelled is None else labelled)
    system = night.usecase.prompt(night.usecase.task.system)
    manner = fingerprint(system, night.usecase.task.model_dump(), embedded.NAME, labels)
    where = f"model = '{model.key}' AND rendering = '{manner}'"
    known = {row["example_id"]: row for row in night.lake.read("predictions", night.lake.version("predictions"), where=where).to_pylist()}
    missing = [row for row in examples if row["example_id"] not in known]
    log.info("%s: %d rows to answer, %d answered before", model.key, len(missing), len(examples) - len(missing))
    made = {row["example_id"]: row for row in _generate(night, model, missing, labels, manner)} if missing else {}
    answers = known | made
    rows = [
        answers[row["example_id"]] | {"group_id": row["group_id"], "night": night.night} for row in examples if row["example_id"] in answers
    ]
    return Answered(rows, len(made))


def keep(night: Night, answered: Iterable[Answered]) -> int:
    """The night's predictions: these, and what else was answered tonight in the same rendering; returns the version.

    Safe to repeat, and in any order: an evaluation that runs again does not lose the answers of the safety tests.
    """
    rows = [row for found in answered for row in found.rows]
    manners = {row["rendering"] for row in rows}
    before = night.lake.read("predictions", night.lake.version("predictions"), where=f"night = '{night.night}'").to_pylist()
    every = [*(row for row in before if row["rendering"] in manners), *rows]
    unique = {(row["model"], row["rendering"], row["example_id"]): row for row in every}
    return night.lake.replace("predictions", unique.values(), night=night.night)


def _generate(night: Night, model: Model, examples: Sequence[dict], labels: list[str], manner: str) -> list[dict]:
    """Answer rows in chunks of like length, each kept in the lake before the next one starts."""
    loaded, tokenizer = embedded.load(embedded.prepare(Path(night.profile.state) / "models"), registry.adapter_folder(night, model))
    task, system = night.usecase.task, night.usecase.prompt(night.usecase.task.system)
    prompts = {row["example_id"]: rendering.render(tokenizer, system, row["prompt"]) for row in examples}
    encoded = tokenizer(list(prompts.values()), add_special_tokens=False)["input_ids"]
    sizes = {key: len(ids) for key, ids in zip(prompts, encoded, strict=True)}
    fitting = [row for row in examples if sizes[row["example_id"]] + task.max_new_tokens <= loaded.config.max_position_embeddings]
    if len(fitting) < len(examples):
        log.warning("%s: %d rows are longer than the model reads: no answer, counted as missing", model.key, len(examples) - len(fitting))
    fitting.sort(key=lambda row: sizes[row["example_id"]])
    choices = [rendering.words(night.usecase, label) for label in labels]
    done: list[dict] = []
    tokens, started = 0, time.perf_counter()
    for start in range(0, len(fitting), CHUNK):
        chunk, before = fitting[start : start + CHUNK], time.perf_counter()
        texts = [prompts[row["example_id"]] for row in chunk]
        written = decoding.generate(loaded, tokenizer, texts, task.max_new_tokens, choices=choices or None)
        share = (time.perf_counter() - before) / len(chunk)
        rows = [_prediction(night, model, manner, labels, row, found, share) for row, found in zip(chunk, written, strict=True)]
        night.lake.append("predictions", rows)
        night.tab.calls += len(rows)
        done += rows
        tokens += sum(found.prompt_tokens + found.completion_tokens for found in written)
        log.info("%s: %d of %d rows, %.0f tokens a second", model.key, len(done), len(fitting), tokens / (time.perf_counter() - started))
    return done


def _prediction(
    night: Night, model: Model, manner: str, labels: list[str], row: dict, written: decoding.Completion, seconds: float
) -> dict:
    answer = rendering.parse(night.usecase, labels, written.text)
    # What was written instead of a label stays readable.
    unread = "label" in night.usecase.task.answer and answer.label is None
    return {
        "example_id": row["example_id"],
        "group_id": row["group_id"],
        "night": night.night,
        "model": model.key,
        "rendering": manner,
        "label": answer.label,
        "response": written.text if unread and answer.response is None else answer.response,
        "prompt_tokens": written.prompt_tokens,
        "completion_tokens": written.completion_tokens,
        "seconds": seconds,
    }
