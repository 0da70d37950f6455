"""Nights up to the gate with a registered model to promote: small real steps on a real MLflow store."""

from pathlib import Path

from pipelines.foundation import registry
from pipelines.foundation.step import Night, open_night, step

METRIC = {
    "champion": 0.5,
    "candidate": 0.9,
    "difference": 0.4,
    "low": 0.3,
    "high": 0.5,
    "bound": 0.32,
    "visible": 0.1,
    "margin": 0.05,
    "n": 100,
    "clusters": 90,
    "verdict": "PASS",
}


def adapter(night: Night) -> dict[str, str]:
    """A logged model with one small file, and its run: what training leaves in MLflow."""
    import mlflow

    client = registry.client(night)
    folder = Path(night.profile.state, "scratch")
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    with mlflow.start_run() as run:
        model = mlflow.initialize_logged_model(name="adapter")
        client.log_model_artifacts(model.model_id, str(folder))
        mlflow.finalize_logged_model(model.model_id, "READY")
    return {"adapter": f"models:/{model.model_id}", "run_id": run.info.run_id}


def night_with(verdict: str, date: str, staging: dict | None = None) -> str:
    """Run small real steps that stand for the work before the registry; returns the candidate's key."""

    @step(code=1)
    def ingest(night: Night) -> dict:
        return {"read": 120, "accepted": 110, "quarantined": 10, "traffic": 0}

    @step(code=1)
    def split(night: Night) -> dict:
        return {"examples": 0, "train": 90, "test": 20, "groups": 100, "duplicates": 3}

    @step(code=1)
    def finetune(night: Night) -> dict:
        return adapter(night) | {"model": night.key, "rows": 90, "synthetic_rows": 4}

    @step(code=1, after="finetune")
    def evaluate(night: Night) -> dict:
        champion = registry.champion(night)
        return {"champion": {"key": champion.key, "version": champion.version}, "scores": 1, "metrics": {}, "model_calls": 40}

    @step(code=1, after="evaluate")
    def gate(night: Night) -> dict:
        return {
            "verdict": verdict,
            "metrics": {"accuracy": METRIC},
            "reason": "better by 0.4",
            "staging": staging,
            "looks": 1,
            "alpha": 0.05,
        }

    for work in (ingest, split, finetune, evaluate, gate):
        work("small", "local", date)
    return open_night("small", "local", date).before("finetune")["model"]
