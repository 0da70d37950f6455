"""More train rows: `python -m pipelines synthesize --usecase support --night 2026-11-20`.

Methods: see `plans` (a model writes) and `augment` (slips of the hand, no model). Only train rows are shown and only train
rows have children; a child takes its parent's label, response, group and side, and tells its parent, its method and its
generation. What was made is filtered hard (`filters`), every refusal is counted, and the report shows how varied it is.
"""

import logging
from collections import Counter
from pathlib import Path

from pipelines.data.labelling import confident
from pipelines.data.synthesis import diversity, making, personas, plans, written
from pipelines.foundation import corrections, embedded, protected
from pipelines.foundation.step import Night, step

log = logging.getLogger("pipelines.synthesize")


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings."""
    settings = night.usecase.synthesis
    endpoint = night.profile.endpoints.get(settings.endpoint)
    model = endpoint and (embedded.revision() if endpoint.kind == "embedded" else f"{endpoint.model} at {endpoint.url}")
    files = sorted({settings.prompt, settings.personas, *settings.prompts.values()} - {""})
    return {
        "synthesis prompts": {name: night.usecase.prompt(name) for name in files},
        "synthesis model": model,
        "people's labels": corrections.state(night.lake),
    }


@step(code=3, after="split", sections=("synthesis", "task", "privacy"), extra=_inputs)
def synthesize(night: Night) -> dict:
    """Make this night's synthetic rows; returns counts, refusals by reason and by method, figures of variety and the report.

    Raises UserError for an unknown endpoint, a prompt that is missing or lacks a place, a file of personas that holds none,
    and where no request at all was answered.
    """
    settings, guard = night.usecase.synthesis, protected.Guard(night)
    stock = _stock(night, guard)
    wanted = min(settings.rows_per_night, _room(len(stock.train), len(stock.made), settings.min_real_share))
    maker = making.Maker(night, stock, guard)
    if wanted > 0 and any(map(plans.alone, stock.train)):
        maker.make(wanted)
    version = night.lake.version("synthetic")
    if maker.rows or version is not None:  # an empty replacement takes away what an earlier run of this night left
        version = night.lake.replace("synthetic", maker.rows, night=night.night)
    result = {
        "synthetic": version,
        "rows": len(maker.rows),
        "asked": len(maker.replies),
        "rejected": dict(sorted(sum(maker.refused.values(), Counter()).items())),
        "rejected_by_method": {method: dict(sorted(words.items())) for method, words in sorted(maker.refused.items())},
        "methods": dict(Counter(row["method"] for row in maker.rows)),
        "tokens": sum(reply.usage.prompt + reply.usage.completion for reply in maker.replies if reply.usage),
    }
    if not maker.tried:
        return result
    figures = diversity.compare(stock.train, stock.made, maker.rows)
    page = Path(night.profile.state, "reports", night.usecase.name, night.night, "synthesis.html")
    written.write(page, written.render(night.usecase.name, night.night, result, dict(maker.tried), figures, maker.rows))
    return result | {"figures": figures, "report": str(page)}


def _stock(night: Night, guard: protected.Guard) -> plans.Stock:
    """What there is; a row that matches the safety set is no parent, nor is one whose own parent is not there any more."""
    real = night.lake.read("examples", night.before("split")["examples"], where=f"night <= '{night.night}'").to_pylist()
    made = night.lake.read("synthetic", night.lake.version("synthetic"), where=f"night < '{night.night}'").to_pylist()
    found = corrections.corrected(night.lake, sorted(real, key=lambda row: row["example_id"]) + sorted(made, key=plans.depth))
    train = [row for row in found if row["source"] != "synthetic" and row["split"] == "train" and guard.find(row["prompt"]) is None]
    alive = {row["example_id"] for row in train}
    kept = []
    for row in (row for row in found if row["source"] == "synthetic"):
        if row["parent_id"] in alive and guard.find(row["prompt"]) is None:
            kept.append(row)
            alive.add(row["example_id"])
    confused = confident.confusions(train) if "hard_negative" in night.usecase.synthesis.methods else {}
    return plans.Stock(train, [row for row in real if row["split"] == "test"], kept, confused, personas.load(night.usecase))


def _room(real: int, made: int, min_real_share: float) -> int:
    """Synthetic rows that may be added so that `min_real_share` of the training set stays real."""
    return int(real * (1 - min_real_share) / min_real_share + 1e-9) - made if min_real_share else real * 1000
