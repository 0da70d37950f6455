"""A small house to test in: its own configuration folder and its own state, nothing shared with the real one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

PROFILE = {
    "state": ".nightshift",
    "lake": "{state}/lake",
    "mlflow": "sqlite:///{state}/mlflow.db",
    "artifacts": "{state}/artifacts",
    "endpoints": {"embedded": {"kind": "embedded"}},
}
USECASE = {
    "name": "small",
    "description": "A small use case",
    "sources": [{"path": "sample", "columns": {"text": "text", "label": "label"}}],
    "contract": {"labels": ["blue", "red"]},
    "task": {"answer": "label"},
    "gate": {"metrics": {"accuracy": 0.05}},
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`house(**changes)` writes a use case (default `small`) into a fresh configuration folder and returns that folder."""
    config = tmp_path / "config"
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(config))
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))

    def write(files: dict[str, str] | None = None, profile: dict | None = None, **changes: object) -> Path:
        usecase = USECASE | changes
        folder = config / "usecases" / str(usecase["name"])
        for name, text in {"usecase.yaml": yaml.safe_dump(usecase), **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        (config / "profiles").mkdir(exist_ok=True)
        (config / "profiles" / "local.yaml").write_text(yaml.safe_dump(PROFILE | (profile or {})), encoding="utf-8")
        return config

    return write
