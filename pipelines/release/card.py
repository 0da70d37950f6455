"""Card, decision page and lineage page of the candidate: `python -m pipelines publish_card --usecase support --night 2026-11-20`.

All are artifacts of the training run; the card is the description of the model version, cut to what a registry holds.
"""

from pipelines.foundation import ledger, registry
from pipelines.foundation.step import Night, step
from pipelines.release import lineage
from pipelines.release.decision import markdown, page
from pipelines.release.decision.facts import gather

LONGEST = 5_000  # letters of a version's description: MLflow's column on PostgreSQL


def _moves(night: Night) -> dict[str, list[str]]:
    """What the ledger says of this night: after a rollback or a late approval the page is another."""
    return {"ledger": [entry.hash for entry in ledger.entries(night.lake) if entry.night == night.night]}


@step(code=3, after="promote", sections=("description", "owner"), extra=_moves)
def publish_card(night: Night) -> dict:
    """Write all to the reports folder and to the run, and the card to the model version."""
    facts = gather(night)
    text = markdown.card(facts)
    origin = lineage.trace(night, facts.outcome.version)["page"]
    decision = page.write_page(night, facts)
    path = decision.with_name("model_card.md")
    path.write_text(text, encoding="utf-8")
    client = registry.client(night)
    for file in (path, decision, origin):
        client.log_artifact(facts.run, str(file))
    note = f"\n\n(cut here: the whole card is the artifact {path.name} of the run {facts.run})\n"
    client.update_model_version(night.usecase.name, facts.outcome.version, description=markdown.cut(text, LONGEST, note))
    return {"card": str(path), "decision": str(decision), "lineage": str(origin)}
