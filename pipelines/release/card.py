"""The model card of the night's candidate: `python -m pipelines publish_card --usecase support --night 2026-11-20`.

Markdown after Mitchell et al. 2019, "Model Cards for Model Reporting": what it is, what it was trained on, how it was
judged, what it cannot do. It is an artifact of the training run and the description of the model version.
"""

from pathlib import Path

from pipelines.foundation import embedded, registry
from pipelines.foundation.step import Night, results, step, versions


@step(code=1, after="promote", sections=("description", "owner"))
def publish_card(night: Night) -> dict:
    """Write the card to the reports folder, to the run and to the model version."""
    done = results(night.lake, night.night)
    card = _write(night, done)
    folder = Path(night.profile.state) / "reports" / night.usecase.name / night.night
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model_card.md"
    path.write_text(card, encoding="utf-8")
    client = registry.client(night)
    client.log_artifact(done["finetune"]["run_id"], str(path))
    client.update_model_version(night.usecase.name, done["promote"]["version"], description=card)
    return {"card": str(path)}


def _write(night: Night, done: dict[str, dict]) -> str:
    promote, gate, tuned, split = (done[name] for name in ("promote", "gate", "finetune", "split"))
    champion = done["evaluate"]["champion"]
    against = f"version {champion['version']}" if champion["version"] else "the base model without an adapter"
    lines = [
        f"# {night.usecase.name}, version {promote['version']}",
        "",
        f"{night.usecase.description}. Night {night.night}, verdict **{gate['verdict']}**: {gate['reason']}",
        "",
        "## Model",
        f"- LoRA adapter (rank {night.usecase.tuning.rank}) on {embedded.NAME}; content key `{tuned['model']}`",
        f"- Owner: {night.usecase.owner}. Compared with: {against}",
        "",
        "## Data",
        f"- {tuned['rows']} training rows, {tuned['synthetic_rows']} of them synthetic",
        f"- Tonight: {split['train']} train and {split['test']} sealed test rows in {split['groups']} groups, "
        f"{split['duplicates']} exact duplicates left out",
        "- Personal data was replaced by typed placeholders before the split.",
        "",
        "## Evidence",
        "| metric | champion | candidate | difference | one-sided bound | margin | smallest visible | n | clusters | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(name, metric) for name, metric in gate["metrics"].items()),
        "",
        *_judge(done["evaluate"].get("judge") or {}),
        "## Lineage",
        *(f"- table {table}: version {version}" for table, version in versions(done).items()),
        f"- training run {tuned['run_id']}, gate {gate['key']}",
        "",
        "## Limits",
        "- A 135-million-parameter model unless the profile names another base: check its replies before customers see them.",
        "- The verdict holds for traffic like the sealed rows; the drift report tells whether tonight's still is.",
        "",
    ]
    return "\n".join(lines)


def _row(name: str, metric: dict) -> str:
    figures = [_figure(metric[key]) for key in ("champion", "candidate", "difference", "bound", "margin", "visible")]
    return f"| {name} | {' | '.join(figures)} | {metric['n']} | {metric['clusters']} | {metric['verdict']} |"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _judge(judge: dict) -> list[str]:
    if not judge:
        return []
    shown = ", ".join(f"{key} {value}" for key, value in judge.items() if isinstance(value, (int, float)) and not isinstance(value, bool))
    return [f"The judge is not admitted, so its figures are advice that the gate did not read: {shown}.", ""]
