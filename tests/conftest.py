"""A small house to test in: its own configuration folder and its own state, nothing shared with the real one."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from botocore.client import BaseClient

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
    "task": {"answer": "label"},
    "gate": {"metrics": {"accuracy": 0.05}},
}
CONTRACT = {"labels": ["blue", "red"]}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator["BaseClient"]:
    """A client of an S3 server of the test's own, on loopback, that everything in this test talks to.

    A process of its own: delta-rs holds Python's lock while it waits, so that a server in a thread could never answer.
    """
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        for name, value in {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ALLOW_HTTP": "true"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield boto3.client("s3")
        server.terminate()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`house(**changes)` writes a use case (default `small`) into a fresh configuration folder and returns that folder."""
    config = tmp_path / "config"
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(config))
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))

    def write(files: dict[str, str] | None = None, profile: dict | None = None, contract: dict | None = None, **changes: object) -> Path:
        usecase = USECASE | changes
        written = {"usecase.yaml": yaml.safe_dump(usecase), "contract.yaml": yaml.safe_dump(CONTRACT if contract is None else contract)}
        folder = config / "usecases" / str(usecase["name"])
        for name, text in {**written, **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        (config / "profiles").mkdir(exist_ok=True)
        (config / "profiles" / "local.yaml").write_text(yaml.safe_dump(PROFILE | (profile or {})), encoding="utf-8")
        return config

    return write
