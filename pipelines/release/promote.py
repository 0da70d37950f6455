"""The registry follows the verdict: `python -m pipelines promote --usecase support --night 2026-11-20`.

Every candidate becomes a model version with its verdict and lineage as tags and the alias `candidate`; the alias
`champion` moves only on the verdict PROMOTE.
"""

import logging

from pipelines.foundation import ledger, registry
from pipelines.foundation.step import Night, fingerprint, results, step, versions

log = logging.getLogger("pipelines.promote")


@step(code=1, after="gate")
def promote(night: Night) -> dict:
    """Register the candidate, move the aliases, and write the promotion to the ledger."""
    gate, candidate = night.before("gate"), night.before("finetune")
    champion = registry.champion(night)
    client = registry.client(night)
    version = _register(night, candidate, champion, gate["verdict"])
    client.set_registered_model_alias(night.usecase.name, "candidate", version)
    stands = champion.version
    if gate["verdict"] == "PROMOTE":
        client.set_registered_model_alias(night.usecase.name, "champion", version)
        body = {"version": version, "previous": champion.version, "model": candidate["model"], "gate": gate["key"]}
        ledger.append(night.lake, night.night, "promotion", body)
        stands = version
    log.info("version %s is %s; the champion is %s", version, gate["verdict"], stands or "the base model")
    return {"version": version, "champion_version": stands, "verdict": gate["verdict"]}


def _register(night: Night, candidate: dict, champion: registry.Model, verdict: str) -> str:
    """The version of this candidate in the registry, made where a killed try has not made it already."""
    from mlflow.exceptions import MlflowException

    client, name = registry.client(night), night.usecase.name
    try:
        client.create_registered_model(name, description=night.usecase.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get(registry.KEY_TAG) == candidate["model"]]
    version = found[0] if found else client.create_model_version(name, candidate["adapter"], run_id=candidate["run_id"])
    for key, value in _tags(night, candidate, champion, verdict).items():
        client.set_model_version_tag(name, version.version, key, value)
    return str(version.version)


def _tags(night: Night, candidate: dict, champion: registry.Model, verdict: str) -> dict[str, str]:
    """Lineage: the tables' versions, the settings, and what the version was compared with."""
    tables = {f"nightshift.table.{table}": str(version) for table, version in versions(results(night.lake, night.night)).items()}
    return tables | {
        registry.KEY_TAG: candidate["model"],
        registry.NIGHT_TAG: night.night,
        registry.PREVIOUS_TAG: champion.version or "",
        "nightshift.verdict": verdict,
        "nightshift.settings": fingerprint(night.usecase.model_dump()),
    }
