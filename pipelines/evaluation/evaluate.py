"""Champion and candidate answer the same sealed rows: `python -m pipelines evaluate --usecase support --night 2026-11-20`.

Notable: answers that any earlier night paid for are used again (see `answers`). A model in staging answers the sealed
rows that are newer than its verdict. Each evaluation is a look at the sealed rows, and the ledger counts it.
"""

import logging
import time
from collections.abc import Sequence

from pipelines.errors import UserError
from pipelines.evaluation import judge, metrics
from pipelines.evaluation.answers import Answered, answer_all, keep
from pipelines.evaluation.judged import judge_items
from pipelines.evaluation.sealed import cut, every
from pipelines.foundation import datasets, embedded, ledger, prices, registry
from pipelines.foundation.messages import Usage
from pipelines.foundation.registry import Model, Staged
from pipelines.foundation.rendering import Answer
from pipelines.foundation.step import Night, step
from pipelines.sections import Prices

log = logging.getLogger("pipelines.evaluate")


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings: champion and staging, the prompts, and who judges."""
    usecase, staged = night.usecase, registry.staging(night)
    judges = {name: judge.members(night, settings) for name, settings in usecase.evaluation.judges.items()}
    return {
        "champion": registry.champion(night).key,
        "staging": staged and [staged.model.key, staged.night],
        "system prompt": usecase.prompt(usecase.task.system),
        "base model": embedded.revision(),
        "prices": _prices(night).model_dump(mode="json") if _prices(night) else "none",
        "judges": judges,
    }


@step(code=2, after="finetune", sections=("task", "evaluation", "contract"), extra=_inputs)
def evaluate(night: Night) -> dict:
    """Answer, score and judge the sealed rows; raises NightStopped where there are none."""
    rows, tuned = every(night), night.before("finetune")
    champion, candidate, staged = registry.champion(night), Model(tuned["model"], None, tuned["adapter"]), registry.staging(night)
    examples, fresh = cut(night, rows), cut(night, [row for row in rows if staged and row["night"] > staged.night])
    if champion.key == candidate.key:
        log.info("the candidate is the champion: answered and scored once")
    answered = _answer(
        night, [(champion, examples), (candidate, examples), (champion, fresh), *([(staged.model, fresh)] if staged else [])]
    )
    predictions = keep(night, answered.values())
    items = _items(night, examples, answered[champion.key].rows, answered[candidate.key].rows)
    scored = metrics.score_items(night.usecase.task.answer, items, night.night, candidate.key)
    staging = _score_staged(night, staged, fresh, answered[champion.key], answered) if staged else []
    judged = judge_items(night, examples, items, candidate.key)
    scores = night.lake.replace("scores", [*scored, *staging, *judged.scores], night=night.night)
    figures = metrics.summarise(night.usecase.task.answer, items, scored)
    look = {"candidate": candidate.key, "champion": champion.key, "items": len(items)}
    ledger.append(night.lake, night.night, "look", look)
    _log_figures(night, tuned["run_id"], figures)
    given = datasets.Given("sealed", "examples", night.before("split")["examples"], examples)
    datasets.log_inputs(night, tuned["run_id"], "evaluation", [given])
    generated = sum(found.generated for found in answered.values())
    return {
        "items": len(items),
        "predictions": predictions,
        "scores": scores,
        "judgements": night.lake.version("judgements"),
        "champion": {"key": champion.key, "version": champion.version},
        "candidate": {"key": candidate.key},
        "staging": {"key": staged.model.key, "version": staged.model.version, "items": len(fresh)} if staged else None,
        "same_model": champion.key == candidate.key,
        "metrics": figures,
        "judges": judged.judges,
        "generated": generated,
        "reused": sum(len(found.rows) for found in answered.values()) - generated,
    }


def _answer(night: Night, wanted: Sequence[tuple[Model, Sequence[dict]]]) -> dict[str, Answered]:
    """Each model's answers by its key, a row that is wanted twice answered once."""
    models, rows = {}, {}
    for model, examples in wanted:
        models[model.key] = model
        rows.setdefault(model.key, {}).update({row["example_id"]: row for row in examples})
    return {key: answer_all(night, model, list(rows[key].values())) for key, model in models.items()}


def _items(night: Night, examples: Sequence[dict], champion: Sequence[dict], candidate: Sequence[dict]) -> list[metrics.Item]:
    old, new = (
        {row["example_id"]: metrics.Written(row["label"], row["response"], row["completion_tokens"], _dollars(night, row)) for row in side}
        for side in (champion, candidate)
    )
    gold = {row["example_id"]: Answer(row["label"], row["response"]) for row in examples}
    ids = {row["example_id"]: row["group_id"] for row in examples}
    return [metrics.Item(key, group, gold[key], old.get(key), new.get(key)) for key, group in ids.items()]


def _prices(night: Night) -> Prices | None:
    """What serving the model costs; raises UserError where the gate reads the cost and the profile has no price."""
    found = night.profile.prices.get(embedded.NAME)
    if found is None and "cost" in night.usecase.gate.metrics:
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: gate.metrics names cost, but the profile has no price of the model: "
            f"add prices: {{{embedded.NAME}: {{input: ..., output: ...}}}} (US dollars a million tokens) to it"
        )
    return found


def _dollars(night: Night, row: dict) -> float | None:
    """Of 1,000 requests like this one."""
    found = _prices(night)
    return float(1000 * prices.cost(found, Usage(row["prompt_tokens"], row["completion_tokens"]))) if found else None


def _score_staged(night: Night, staged: Staged, fresh: Sequence[dict], champion: Answered, answered: dict[str, Answered]) -> list[dict]:
    """Scores of champion and staged model on the rows that are fresh for it; none where it is the champion or was the candidate already."""
    key = staged.model.key
    if key in (night.before("finetune")["model"], registry.champion(night).key):
        return []
    return metrics.score_items(night.usecase.task.answer, _items(night, fresh, champion.rows, answered[key].rows), night.night, key)


def _log_figures(night: Night, run_id: str, figures: dict[str, dict[str, float | None]]) -> None:
    """The metrics of both models, on the run that trained the candidate."""
    from mlflow.entities import Metric

    stamp = int(time.time() * 1000)
    sides = [(f"{side}_{name}", value) for name, found in figures.items() for side, value in found.items() if value is not None]
    registry.client(night).log_batch(run_id, [Metric(name, value, stamp, 0) for name, value in sides])
