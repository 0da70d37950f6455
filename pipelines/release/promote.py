"""The registry follows the verdict: `python -m pipelines promote --usecase support --night 2026-11-20`.

Every candidate becomes a model version with its verdict and lineage as tags and the alias `candidate`. On the verdict
PROMOTE (and an approval, where the use case wants one) it becomes the champion, or, with `staging.max_nights`, goes to
staging, from where the gate confirms it on fresh rows of later nights. Moves are atomic: see `registry.move`. A night that
is run late, say by a backfill, moves nothing where a later night has promoted already: see `moves.late`.
"""

import json
import logging

from pipelines.foundation import ledger, moves, registry, subjects
from pipelines.foundation.step import Night, fingerprint, results, step, versions
from pipelines.release import approval
from pipelines.release.pins import pin

log = logging.getLogger("pipelines.promote")


def _approval(night: Night) -> dict[str, object]:
    """The answer to the question that this verdict put to a person."""
    found = approval.find(night) if night.usecase.approval == "required" else None
    return {"approval": found and found.hash}


@step(code=2, after="gate", sections=("approval", "four_eyes", "staging"), extra=_approval)
def promote(night: Night) -> dict:
    """Register the candidate and move what may move; raises UserError where a person's or an earlier night's move came first."""
    gate, evaluated = night.before("gate"), night.before("evaluate")
    version = _register(night, gate["verdict"])
    registry.client(night).set_registered_model_alias(night.usecase.name, "candidate", version)
    expected = evaluated["champion"]["version"]
    late = moves.late(ledger.entries(night.lake), night.night)
    moved, why = "none" if late else _move_staged(night, expected), ""
    blocked = _blocked(night, version)
    if gate["verdict"] != "PROMOTE":
        why = f"the verdict is {gate['verdict']}"
    elif late:
        why = late
    elif blocked:
        why = blocked
    elif moved == "champion":
        why = "the model in staging was confirmed tonight, and the verdict is on the champion before it"
    elif night.usecase.staging.max_nights and registry.staging(night) is not None and moved == "none":
        why = "another model is in staging"
    elif (other := _promoted(night, version)) and not subjects.barred(ledger.entries(night.lake), registry.model(night, other).key):
        why = f"this night has promoted version {other} already, and the verdict is on the champion before it"
    else:
        moved = "staging" if night.usecase.staging.max_nights else "champion"
        _move(night, "staging" if moved == "staging" else "promotion", _facts(night, version), other or expected)
        why = "nowhere worse than allowed" + (", and the champion has to go" if gate.get("better") == [] else ", and better")
    registry.follow(night)
    chain = ledger.entries(night.lake)
    stage = moves.staged(chain)
    result = {"version": version, "champion_version": moves.champion_version(chain), "staging_version": stage and stage.version}
    log.info("version %s: %s; the champion is %s", version, why, result["champion_version"] or "the base model")
    return result | {"moved": moved, "verdict": gate["verdict"], "why": why}


def _move_staged(night: Night, expected: str | None) -> str:
    """The model in staging becomes the champion, or leaves; returns champion, dropped or none."""
    found = night.before("gate").get("staging")
    if not found or found["verdict"] == "WAIT":
        return "none"
    if found["verdict"] == "DROP":
        _move(
            night,
            "staging",
            {"version": None, "dropped": found["version"], "evidence": found, "gate": night.before("gate")["key"]},
            expected,
        )
        return "dropped"
    if blocked := _blocked(night, found["version"]):
        log.info("version %s was confirmed, but %s", found["version"], blocked)
        return "none"
    _move(night, "promotion", _facts(night, found["version"]) | {"evidence": found}, expected)
    return "champion"


def _promoted(night: Night, version: str) -> str:
    """The other candidate of this night that is the champion, say of the settings before; empty where there is none."""
    chain = ledger.entries(night.lake)
    own = {entry.body["version"] for entry in chain if (entry.kind, entry.night) == ("promotion", night.night)}
    stands = moves.champion_version(chain)
    return stands if stands in own - {version} else ""


def _blocked(night: Night, version: str) -> str:
    """Why a promotion that the evidence allows may not happen; empty where it may. No answer is a refusal."""
    chain, key = ledger.entries(night.lake), registry.model(night, version).key
    if barred := subjects.barred(chain, key):
        return f"version {version} {barred}"
    away = moves.abandoned(chain, key)
    if away is not None:
        said = away.body
        who = said["by"] or "a person"
        return f"version {version} was rolled back by {who} ({said['why']}): only a rollback to it makes it champion again"
    if night.usecase.approval == "none" or not approval.pending(night):
        return ""
    found = approval.find(night)
    if found is None:
        return "it waits for an approval: approval is required, and nobody was asked yet"
    return "" if found.body["approved"] else f"not approved: {found.body['why']}"


def _facts(night: Night, version: str) -> dict:
    """The body of a promotion: what moved, and everything that it rests on."""
    found = approval.find(night) if night.usecase.approval == "required" else None
    model = registry.model(night, version).key
    return {"version": version, "model": model} | pin(night) | {"approval": found and found.body}


def _move(night: Night, kind: str, body: dict, expected: str | None) -> None:
    """Once a night and version: a repeated night finds its own entry, whatever came after it, and only the aliases are set."""
    own = [entry for entry in ledger.entries(night.lake) if (entry.kind, entry.night) == (kind, night.night)]
    if any(entry.body["version"] == body["version"] for entry in own):
        log.info("%s of version %s stands in the ledger already", kind, body["version"])
        return
    registry.move(night, kind, body, expected)


def _register(night: Night, verdict: str) -> str:
    """The version of tonight's candidate in the registry, made where a killed try has not made it already."""
    from mlflow.exceptions import MlflowException

    candidate = night.before("finetune")
    client, name = registry.client(night), night.usecase.name
    try:
        client.create_registered_model(name, description=night.usecase.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get(registry.KEY_TAG) == candidate["model"]]
    tags = _tags(night, candidate["model"], verdict)
    # With its tags in one transaction: a version without its key would be made again.
    version = found[0] if found else client.create_model_version(name, candidate["adapter"], run_id=candidate["run_id"], tags=tags)
    for key, value in tags.items():
        client.set_model_version_tag(name, version.version, key, value)
    return str(version.version)


def _tags(night: Night, key: str, verdict: str) -> dict[str, str]:
    """Lineage: the tables' versions, the settings, and the verdict."""
    tables = {f"nightshift.table.{table}": str(version) for table, version in versions(results(night.lake, night.night)).items()}
    return tables | {
        registry.KEY_TAG: key,
        registry.NIGHT_TAG: night.night,
        "nightshift.verdict": verdict,
        "nightshift.settings": fingerprint(night.usecase.model_dump()),
        registry.PINS_TAG: json.dumps(pin(night)),
    }
