"""What a promotion pins down, so that an auditor can say years later what was decided on what."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipelines.foundation import ledger, protected
from pipelines.foundation.step import Night, fingerprint, results, versions
from pipelines.settings import ROOT

LIBRARIES = ("torch", "transformers", "peft", "mlflow", "scipy", "apache-airflow")


def pin(night: Night) -> dict:
    """Tables, split, judges, code, settings, prompts, looks and cost of the night, as they stand now."""
    done = results(night.lake, night.night)
    gate, split = done["gate"], done.get("split", {})
    verdicts = [entry for entry in ledger.entries(night.lake) if (entry.kind, entry.night) == ("verdict", night.night)]
    return {
        "verdict": gate["verdict"],
        "gate": gate["key"],
        "verdict_entry": verdicts[-1].hash if verdicts else None,
        "tables": versions(done),
        "split": {key: split.get(key) for key in ("train", "test", "groups")} | night.usecase.split.model_dump(),
        "judges": gate.get("judges", {}),
        "looks": gate.get("looks"),
        "alpha": gate.get("alpha"),
        "code": code(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "settings": fingerprint(night.usecase.model_dump()),
        "prompts": prompts(night),
        "safety": [{"path": how["path"], "sha256": sha} for how, sha in protected.digests(night)],
        "run": done.get("finetune", {}).get("run_id"),
        "cost": {
            "seconds": round(sum(found["seconds"] for found in done.values()), 1),
            "model_calls": sum(found.get("model_calls", 0) for found in done.values()),
        },
    }


def code() -> str:
    """SHA-256 over every source file of `pipelines`, in the order of their names: the same code gives the same hash anywhere."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "pipelines").rglob("*.py")):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def prompts(night: Night) -> dict[str, str]:
    """SHA-256 of each file under prompts/."""
    files = sorted(Path(night.usecase.folder, "prompts").glob("*.txt"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
