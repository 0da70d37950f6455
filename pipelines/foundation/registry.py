"""MLflow, set up in one place: experiments, adapters, and the champion of a use case.

Adapters are stored as plain files of a LoggedModel (safetensors): `mlflow.transformers.log_model` corrupts a PEFT
model whose base is a local folder (mlflow #23761).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import database, ledger, moves, subjects
from pipelines.foundation.ledger import Entry
from pipelines.foundation.step import Night

if TYPE_CHECKING:
    from mlflow import MlflowClient

BASE = "base"  # the key of the embedded model without an adapter
KEY_TAG = "nightshift.key"
NIGHT_TAG = "nightshift.night"
PINS_TAG = "nightshift.pins"  # JSON: what a version rests on (`release.pins`), of every version, for only a promotion is in the ledger
MOVES = ("promotion", "rollback", "staging")  # kinds of ledger entries
ENTRY_TAG = "nightshift.ledger"  # number and hash of the ledger entry that moved a version: an anchor outside the ledger


class Model(NamedTuple):
    """A model that can answer: the base, or the base with an adapter."""

    key: str  # content key: the finetune step's key, or "base"
    version: str | None  # registry version; None for the base or a model that is not registered yet
    adapter: str | None  # MLflow URI of the adapter's files


class Staged(NamedTuple):
    """A model that is being confirmed on fresh rows."""

    model: Model
    night: str  # rows of later nights are fresh to it


def client(night: Night) -> "MlflowClient":
    """The MLflow client of the night's profile, with the experiment of the use case made and set."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "60")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    database.prepare(night.profile.mlflow, night.profile.artifacts or "mlruns")
    mlflow.set_tracking_uri(night.profile.mlflow)
    mlflow.set_registry_uri(night.profile.mlflow)
    found = mlflow.MlflowClient()
    if found.get_experiment_by_name(night.usecase.name) is None:
        found.create_experiment(night.usecase.name, artifact_location=night.profile.artifacts or None)
    mlflow.set_experiment(night.usecase.name)
    return found


def left_run(night: Night) -> str | None:
    """The id of the MLflow run that a killed try of this step left, known by the step's key; None: there is none."""
    client(night)
    import mlflow

    found = mlflow.search_runs(filter_string=f"tags.`{KEY_TAG}` = '{night.key}'", output_format="list", max_results=1)
    return found[0].info.run_id if found else None


def champion(night: Night) -> Model:
    """The champion that stood when the night began (see `moves`): the base model until a candidate was promoted."""
    version = moves.champion_version(ledger.entries(night.lake), night.night)
    return model(night, version) if version else Model(BASE, None, None)


def staging(night: Night) -> Staged | None:
    """The model that was in staging when the night began."""
    found = moves.staged(ledger.entries(night.lake), night.night)
    return Staged(model(night, found.version), found.night) if found else None


def model(night: Night, version: str) -> Model:
    """A registered version; raises UserError where there is none of that number."""
    registry, name = client(night), night.usecase.name
    from mlflow.exceptions import MlflowException

    try:
        found = registry.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        known = sorted(int(v.version) for v in registry.search_model_versions(f"name = '{name}'"))
        raise UserError(f"{name} has no version {version!r}; it has {', '.join(map(str, known)) or 'none yet'}") from None
    return Model(found.tags[KEY_TAG], str(found.version), found.source)


def adapter_folder(night: Night, model: Model) -> Path | None:
    """The local folder of a model's adapter (downloaded where it is remote), None for the base."""
    if model.adapter is None:
        return None
    client(night)
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(model.adapter))


def move(night: Night, kind: str, body: dict, expected: str | None) -> Entry:
    """Write a promotion, rollback or staging entry and set the aliases.

    Raises UserError where another champion stands than `expected`, a later night has moved already (`moves.late`), or
    the model was trained on rows that were erased since.

    MLflow's aliases know no compare and swap, the ledger does: the entry is only added while the champion that it means
    to replace still stands. Two moves at once end in one winner and one refusal; a process that dies in between leaves
    aliases that the next `follow` sets right.
    """

    def check(chain: list[Entry]) -> None:
        stands = moves.champion_version(chain)
        if barred := body.get("model") and subjects.barred(chain, body["model"]):
            raise UserError(f"{kind} refused: version {body['version']} {barred}; nothing was moved")
        if kind != "rollback" and (late := moves.late(chain, night.night)):
            raise UserError(f"{kind} refused: {late}; nothing was moved")
        if stands == expected:
            return
        last = next(entry for entry in reversed(chain) if entry.kind in ("promotion", "rollback"))
        raise UserError(
            f"{kind} refused: since {last.at} {_name(stands)} is the champion of {night.usecase.name} ({last.kind}, ledger entry "
            f"{last.seq}), but this {kind} was decided against {_name(expected)}; nothing was moved: run it again, against what stands now"
        )

    entry = ledger.append(night.lake, night.night, kind, body | {"previous": expected}, check)
    follow(night)
    return entry


def follow(night: Night) -> None:
    """Set the aliases champion and staging to what the ledger says, until no entry came in between."""
    registry, name = client(night), night.usecase.name
    while True:
        chain = ledger.entries(night.lake)
        stage = moves.staged(chain)
        aliases = registry.get_registered_model(name).aliases
        for alias, version in (("champion", moves.champion_version(chain)), ("staging", stage and stage.version)):
            if version is None and alias in aliases:
                registry.delete_registered_model_alias(name, alias)
            elif version is not None and str(aliases.get(alias)) != version:
                registry.set_registered_model_alias(name, alias, version)
        _anchor(night, chain)
        if len(ledger.entries(night.lake)) == len(chain):
            return


def _anchor(night: Night, chain: list[Entry]) -> None:
    """Each version's tag names the newest entry that moved it; a process that died after that entry had no time to set it.

    A tag that names this entry or a later one stays as it is, for `ledger verify` holds the ledger against it.
    """
    registry, name = client(night), night.usecase.name
    newest = {entry.body["version"]: entry for entry in chain if entry.kind in MOVES and entry.body["version"]}
    for version in registry.search_model_versions(f"name = '{name}'") if newest else ():
        entry = newest.get(str(version.version))
        if entry is not None and int(version.tags.get(ENTRY_TAG, "0").partition(":")[0]) < entry.seq:
            registry.set_model_version_tag(name, version.version, ENTRY_TAG, f"{entry.seq}:{entry.hash}")


def _name(version: str | None) -> str:
    return f"version {version}" if version else "the base model"
