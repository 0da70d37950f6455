"""Champion and candidate answer the same sealed rows: `python -m pipelines evaluate --usecase support --night 2026-11-20`.

Notable: answers that any earlier night paid for are used again (see `answers`). Each evaluation is a look at the sealed
rows, and the ledger counts it.
"""

import hashlib
import logging
import time
from collections.abc import Sequence

from pipelines.errors import NightStopped
from pipelines.evaluation import judge, metrics
from pipelines.evaluation.answers import answer_all
from pipelines.foundation import ledger, registry
from pipelines.foundation.registry import Model
from pipelines.foundation.rendering import Answer
from pipelines.foundation.step import Night, step

log = logging.getLogger("pipelines.evaluate")


def _inputs(night: Night) -> list[object]:
    """What the result depends on besides the settings: the champion, the prompts, and who judges."""
    usecase, settings = night.usecase, night.usecase.evaluation.judge
    endpoint = night.profile.endpoints.get(settings.endpoint)
    prompts = [usecase.prompt(usecase.task.system), usecase.prompt(settings.prompt)]
    return [registry.champion(night).key, prompts, endpoint and endpoint.model_dump()]


@step(code=1, after="finetune", sections=("task", "evaluation", "contract"), extra=_inputs)
def evaluate(night: Night) -> dict:
    """Answer, score and judge the sealed rows; raises NightStopped where there are none."""
    examples, tuned = sealed(night), night.before("finetune")
    champion, candidate = registry.champion(night), Model(tuned["model"], None, tuned["adapter"])
    same = champion.key == candidate.key
    if same:
        log.info("the candidate is the champion: answered and scored once")
    models = {champion.key: champion, candidate.key: candidate}
    answered = {key: answer_all(night, model, examples) for key, model in models.items()}
    predictions = night.lake.replace("predictions", [row for found in answered.values() for row in found.rows], night=night.night)
    items = _items(examples, answered[champion.key].rows, answered[candidate.key].rows)
    scored = metrics.score_items(night.usecase.task.answer, items, night.night)
    scores = night.lake.replace("scores", scored, night=night.night)
    judged = judge.Judged([], 0) if same else _judge(night, examples, items)
    judgements = night.lake.replace("judgements", judged.rows, night=night.night)
    figures = metrics.summarise(night.usecase.task.answer, items, scored)
    look = {"candidate": candidate.key, "champion": champion.key, "items": len(items)}
    ledger.append(night.lake, night.night, "look", look)
    _log_figures(night, tuned["run_id"], figures)
    generated = sum(found.generated for found in answered.values())
    return {
        "items": len(items),
        "predictions": predictions,
        "scores": scores,
        "judgements": judgements,
        "champion": {"key": champion.key, "version": champion.version},
        "candidate": {"key": candidate.key},
        "same_model": same,
        "metrics": figures,
        "judge": judge.summarise(judged.rows, night.usecase.evaluation.judge.max_unscored) if judged.rows else {},
        "generated": generated,
        "reused": sum(len(found.rows) for found in answered.values()) - generated,
        "model_calls": generated + judged.calls,
    }


def sealed(night: Night) -> list[dict]:
    """The test rows up to this night; of more than `max_items` those first by a hash of their id, the same as data grows."""
    where = f"split = 'test' AND night <= '{night.night}'"
    rows = night.lake.read("examples", night.before("split")["examples"], where=where).to_pylist()
    if not rows:
        place = f"split.test_share in {night.usecase.folder}/usecase.yaml"
        raise NightStopped(f"evaluate: there are no sealed rows up to {night.night}; look at {place}")
    ordered = sorted(rows, key=lambda row: hashlib.sha256(row["example_id"].encode()).digest())
    return ordered[: night.usecase.evaluation.max_items or None]


def _items(examples: Sequence[dict], champion: Sequence[dict], candidate: Sequence[dict]) -> list[metrics.Item]:
    gold, old, new = (
        {row["example_id"]: Answer(row["label"], row["response"]) for row in side} for side in (examples, champion, candidate)
    )
    ids = {row["example_id"]: row["group_id"] for row in examples}
    return [metrics.Item(key, group, gold[key], old.get(key), new.get(key)) for key, group in ids.items()]


def _judge(night: Night, examples: Sequence[dict], items: Sequence[metrics.Item]) -> judge.Judged:
    """The first `max_items` pairs with two replies; none where the use case has no judge or the task no reply."""
    settings = night.usecase.evaluation.judge
    if not settings.prompt or "reply" not in night.usecase.task.answer:
        return judge.Judged([], 0)
    prompts = {row["example_id"]: row["prompt"] for row in examples}
    pairs = []
    for item in items:
        if item.champion is not None and item.candidate is not None:
            replies = (answer.response or "" for answer in (item.gold, item.champion, item.candidate))
            pairs.append(judge.Pair(item.example_id, item.group_id, prompts[item.example_id], *replies))
    return judge.judge(night, pairs[: settings.max_items])


def _log_figures(night: Night, run_id: str, figures: dict[str, dict[str, float | None]]) -> None:
    """The metrics of both models, on the run that trained the candidate."""
    from mlflow.entities import Metric

    stamp = int(time.time() * 1000)
    sides = [(f"{side}_{name}", value) for name, found in figures.items() for side, value in found.items() if value is not None]
    registry.client(night).log_batch(run_id, [Metric(name, value, stamp, 0) for name, value in sides])
