"""Nights on which the gate has decided, made by small real steps that write small real tables: for cards, pages and requests."""

from typing import NamedTuple

from pipelines.foundation import admissions, ledger, registry
from pipelines.foundation.step import Night, open_night, step
from tests.release.candidates import adapter

DATE = "2026-11-20"
JUDGE = "a1b2c3d4e5f60718"


class Item(NamedTuple):
    """A sealed row, what it should be, and what the two models answered."""

    name: str
    prompt: str
    gold: str | None
    old: str | None
    new: str | None
    reply: str | None = None
    old_reply: str | None = None
    new_reply: str | None = None
    scores: tuple[float, float] | None = None  # of the metric; None: right or wrong by the label


ITEMS = (
    Item("e1", "Where is my card?", "arrival", "arrival", "lost"),
    Item("e2", "I lost my card", "lost", "arrival", "lost"),
    Item("e3", "It was stolen", "lost", "lost", "lost"),
)


def metric(**changes: object) -> dict:
    """A row of the gate's evidence, which passes."""
    row = {"champion": 0.70, "candidate": 0.76, "difference": 0.06, "low": 0.02, "high": 0.10, "bound": 0.02, "visible": 0.05}
    counts = {"margin": 0.03, "n": 150, "clusters": 90, "missing": 0}
    return row | counts | {"verdict": "PASS", "role": "metric", "read": True, "corrected": False, "why": ""} | changes


def decide(
    verdict: str = "PROMOTE",
    items: tuple[Item, ...] = ITEMS,
    measured: str = "accuracy",
    judged: dict[str, list[dict]] | None = None,
    tracked: bool = False,
    evaluated: dict | None = None,
    safety: dict | None = None,
    date: str = DATE,
    **gate: object,
) -> Night:
    """A night up to the gate: `judged` holds rows of judgements by judge, whose items they lost; `tracked` trains in MLflow."""
    decision = {"verdict": verdict, "reason": f"{verdict} for a reason.", "metrics": {"accuracy": metric()}} | gate
    night = open_night("small", "local", date)
    _data(night, items)
    _train(night, tracked)
    _compare(night, items, measured, judged or {}, evaluated or {})
    if safety is not None:
        _record(night, "safety", "evaluate", safety)
    _record(night, "gate", "safety" if safety is not None else "evaluate", decision)
    ledger.append(night.lake, date, "verdict", decision)
    return night


def admit(night: Night, day: str = "2026-11-01", **changes: object) -> str:
    """An admission of JUDGE in the ledger; returns its hash."""
    figures = {
        "accuracy": {"value": 0.85, "low": 0.78, "high": 0.90},
        "kappa": {"value": 0.66, "low": 0.52, "high": 0.78},
        "tpr": {"value": 0.88, "low": 0.79, "high": 0.94},
        "tnr": {"value": 0.81, "low": 0.55, "high": 0.89},
        "order_consistency": {"value": 0.84, "low": 0.75, "high": 0.91},
        "first_position_share": {"value": 0.54, "low": 0.47, "high": 0.61},
        "length_correlation": {"value": 0.35, "low": 0.2, "high": 0.48},
        "label_length_correlation": {"value": 0.21, "low": 0.02, "high": 0.38},
        "unscored": 1,
        "unscored_share": {"value": 0.01, "low": 0.0, "high": 0.04},
    }
    body = {"judge": JUDGE, "name": "helpful", "admitted": True, "why": "all figures hold", "expires": "2027-02-18", "figures": figures}
    admissions.admit(night.lake, day, body | {"correction": {"value": 0.71, "low": 0.6, "high": 0.82}} | changes)
    return ledger.entries(night.lake)[-1].hash


def _record(night: Night, name: str, after: str, result: dict) -> None:
    """Run a step of that name that gives this result."""

    def work(night: Night) -> dict:
        return result | ({"model": night.key} if name == "finetune" else {})

    work.__name__ = name
    step(code=1, after=after, extra=lambda night: {"given": result})(work)(night.usecase.name, "local", night.night)


def _data(night: Night, items: tuple[Item, ...]) -> None:
    blank = {"subject_id": None, "source": "traffic", "parent_id": None, "split": "test", "day": night.night, "attributes": None}
    rows = [
        blank | {"example_id": i.name, "group_id": i.name, "prompt": i.prompt, "response": i.reply, "label": i.gold, "night": night.night}
        for i in items
    ]
    counts = {"read": 120, "accepted": 110, "quarantined": 10}
    files = [
        {"file": "f" * 64, "source": "sample/<b>one.jsonl", "night": night.night, "bytes": 9, "encoding": "utf-8", "dialect": ""} | counts
    ]
    _record(night, "ingest", "", counts | {"files": night.lake.replace("files", files, night=night.night)})
    version = night.lake.replace("examples", rows, night=night.night)
    _record(night, "split", "", {"examples": version, "train": 90, "test": 20, "groups": 100, "duplicates": 3})


def _train(night: Night, tracked: bool) -> None:
    run = adapter(night) if tracked else {"adapter": "models:/none", "run_id": "none"}
    _record(night, "finetune", "", run | {"rows": 90, "synthetic_rows": 4})


def _compare(night: Night, items: tuple[Item, ...], measured: str, judged: dict[str, list[dict]], evaluated: dict) -> None:
    model = night.before("finetune")["model"]
    answers = [(registry.BASE, i.name, i.old, i.old_reply) for i in items] + [(model, i.name, i.new, i.new_reply) for i in items]
    told = [
        {"example_id": name, "group_id": name, "night": night.night, "model": key, "rendering": "r", "label": label, "response": reply}
        | {"prompt_tokens": 1, "completion_tokens": 1, "seconds": 0.1}
        for key, name, label, reply in answers
    ]
    blank = {"night": night.night, "model": model}
    scores = []
    for i in items:
        old, new = i.scores or (float(i.old == i.gold), float(i.new == i.gold))
        scores.append(blank | {"example_id": i.name, "group_id": i.name, "metric": measured, "champion": old, "candidate": new})
    for judge, rows in judged.items():
        lost = sorted({row["item"] for row in rows})
        scores += [blank | {"example_id": name, "group_id": name, "metric": judge, "champion": 1.0, "candidate": 0.0} for name in lost]
    shown = {"night": night.night, "purpose": "night", "member": "m" * 16, "side": "", "content": "c", "unscored": None, "order": "12"}
    judgements = [shown | {"judge": judge, "group_id": row["item"]} | row for judge, rows in judged.items() for row in rows]
    tables = {"predictions": told, "scores": scores, "judgements": judgements}
    versions = {name: night.lake.replace(name, rows, night=night.night) for name, rows in tables.items()}
    models = {"champion": {"key": registry.BASE, "version": None}, "candidate": {"key": model}}
    _record(night, "evaluate", "finetune", versions | models | {"model_calls": 40} | evaluated)
