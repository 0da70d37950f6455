"""A night that was evaluated, as the gate finds it: scores, predictions and examples in the lake, results in the memo."""

import datetime
import json
from collections.abc import Sequence

from pipelines.foundation import ledger
from pipelines.foundation.step import Night


def binary(n: int, losses: int, wins: int, offset: int = 0) -> list[tuple[str, str, float, float]]:
    """Rows of n items, one a group: the first ones lost, the next ones won, half of the others right in both."""
    scores = [(1.0, 0.0)] * losses + [(0.0, 1.0)] * wins
    scores += [(float(place % 2), float(place % 2)) for place in range(n - losses - wins)]
    return [(f"i{place + offset}", f"g{place + offset}", *pair) for place, pair in enumerate(scores)]


def remember(night: Night, step: str, body: dict, key: str = "") -> None:
    """A step's result, as if it had run."""
    key = key or f"{step}-{night.night}"
    at = datetime.datetime.now(datetime.UTC)
    night.lake.append(
        "memo", [{"night": night.night, "step": step, "key": key, "result": json.dumps(body | {"key": key, "seconds": 1.0}), "at": at}]
    )


def score_rows(night: Night, metric: str, rows: Sequence[tuple], model: str) -> list[dict]:
    """Rows of the table `scores` from (item, group, champion, candidate)."""
    names = ("example_id", "group_id", "champion", "candidate")
    return [dict(zip(names, row, strict=True)) | {"metric": metric, "night": night.night, "model": model} for row in rows]


def evaluated(
    night: Night,
    scores: dict[str, list[tuple]],
    candidate: str = "new",
    champion: dict | None = None,
    judges: dict | None = None,
    safety: dict | None = None,
    staged: dict[str, list[tuple]] | None = None,
    staged_model: str = "",
    attributes: dict[str, dict] | None = None,
    labels: dict[str, str] | None = None,
    prompts: dict[str, str] | None = None,
) -> None:
    """What the steps up to safety leave behind; `safety` holds metrics to rows, the grader and the graders."""
    safety = safety or {}
    rows = [row for metric, found in (scores | safety.get("scores", {})).items() for row in score_rows(night, metric, found, candidate)]
    rows += [row for metric, found in (staged or {}).items() for row in score_rows(night, metric, found, staged_model)]
    version = night.lake.replace("scores", rows, night=night.night)
    answered = [
        {"example_id": item, "group_id": group, "night": night.night, "model": model, "label": "red" if right else "blue"}
        for item, group, *pair in scores.get("accuracy", [])
        for model, right in zip(((champion or {}).get("key", "old"), candidate), pair, strict=True)
        if right is not None
    ]
    items = {row[0]: row[1] for found in (scores | (staged or {})).values() for row in found}
    examples = [
        {
            "example_id": item,
            "group_id": group,
            "label": (labels or {}).get(item, "red"),
            "prompt": (prompts or {}).get(item, "which colour is it"),
            "attributes": json.dumps((attributes or {}).get(item, {})),
            "source": "traffic",
            "split": "test",
            "night": night.night,
        }
        for item, group in items.items()
    ]
    remember(
        night, "split", {"examples": night.lake.replace("examples", examples, night=night.night), "train": 90, "test": 20, "groups": 100}
    )
    remember(night, "finetune", {"model": candidate, "adapter": "models:/none", "run_id": "run", "rows": 90, "synthetic_rows": 0})
    result = {"champion": champion or {"key": "old", "version": None}, "candidate": {"key": candidate}, "scores": version}
    result |= {"predictions": night.lake.replace("predictions", answered, night=night.night), "judges": judges or {}}
    remember(night, "evaluate", result)
    metrics = {name: {} for name in safety.get("scores", {})}
    remember(night, "safety", {"scores": version, "metrics": metrics, "grader": safety.get("grader"), "graders": safety.get("graders", {})})
    ledger.append(night.lake, night.night, "look", {"candidate": candidate})
