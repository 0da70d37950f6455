"""The compose file and the image, as files: nothing here starts a container."""

import importlib.util
import re

import pytest
import yaml

from pipelines.settings import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "command" in service])
def test_every_command_runs_a_module_that_exists(name: str) -> None:
    python, flag, module, *_ = SERVICES[name]["command"]
    assert (python, flag) == ("python", "-m") and importlib.util.find_spec(module) is not None


def test_every_port_is_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_the_four_parts_of_airflow_wait_for_the_bootstrap() -> None:
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert SERVICES[name]["depends_on"] == {"init": {"condition": "service_completed_successfully"}}


def test_every_secret_is_asked_for_and_none_is_written_down() -> None:
    text = (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")
    example = (ROOT / "docker/env.example").read_text(encoding="utf-8")
    for name in set(re.findall(r"\$\{(\w+):\?\}", text)):
        assert f"\n{name}=\n" in example


def test_the_image_is_no_root_and_what_it_copies_exists() -> None:
    lines = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert all((ROOT / name).exists() for name in copied) and "USER nightshift" in lines
    assert "PYTHONPATH=/opt/nightshift" in "".join(lines)
