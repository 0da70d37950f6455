"""MLflow, set up in one place: experiments, adapters, and the champion of a use case.

Adapters are stored as plain files of a LoggedModel (safetensors): `mlflow.transformers.log_model` corrupts a PEFT
model whose base is a local folder (mlflow #23761).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation.step import Night

if TYPE_CHECKING:
    from mlflow import MlflowClient

BASE = "base"  # the key of the embedded model without an adapter
KEY_TAG = "nightshift.key"
NIGHT_TAG = "nightshift.night"
PREVIOUS_TAG = "nightshift.previous_champion"


class Model(NamedTuple):
    """A model that can answer: the base, or the base with an adapter."""

    key: str  # content key: the finetune step's key, or "base"
    version: str | None  # registry version; None for the base or a model that is not registered yet
    adapter: str | None  # MLflow URI of the adapter's files


def client(night: Night) -> "MlflowClient":
    """The MLflow client of the night's profile, with the experiment of the use case made and set."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "60")
    import mlflow

    mlflow.set_tracking_uri(night.profile.mlflow)
    mlflow.set_registry_uri(night.profile.mlflow)
    found = mlflow.MlflowClient()
    if found.get_experiment_by_name(night.usecase.name) is None:
        found.create_experiment(night.usecase.name, artifact_location=night.profile.artifacts or None)
    mlflow.set_experiment(night.usecase.name)
    return found


def champion(night: Night) -> Model:
    """The champion that stood when the night began: the base model until a candidate was promoted.

    A version that this very night promoted does not count, so that a repeated night compares with the same model.
    """
    from mlflow.exceptions import MlflowException

    registry = client(night)
    try:
        version = registry.get_model_version_by_alias(night.usecase.name, "champion")
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return Model(BASE, None, None)
    if version.tags.get(NIGHT_TAG) == night.night:
        previous = version.tags.get(PREVIOUS_TAG, "")
        if not previous:
            return Model(BASE, None, None)
        version = registry.get_model_version(night.usecase.name, previous)
    return Model(version.tags[KEY_TAG], str(version.version), version.source)


def adapter_folder(night: Night, model: Model) -> Path | None:
    """The local folder of a model's adapter (downloaded where it is remote), None for the base."""
    if model.adapter is None:
        return None
    client(night)
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(model.adapter))
