"""The pages in the Airflow UI: signed-in readers only, no file from outside the reports, nothing unescaped."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipelines.foundation.step import open_night
from tests.airflow_home import prepare

House = Callable[..., Path]
NIGHT = "2026-11-20"


@pytest.fixture
def reports(house: House, tmp_path: Path) -> Path:
    house()
    folder = tmp_path / "state" / "reports" / "small" / NIGHT
    folder.mkdir(parents=True)
    (folder / "drift.html").write_text("<h1>Drift</h1>")
    (tmp_path / "state" / "secret.html").write_text("secret")
    return folder


@pytest.fixture
def client(reports: Path) -> TestClient:
    """A reader whom Airflow signed in."""
    from airflow.api_fastapi.core_api.security import get_user

    from plugins.pages import app

    app.dependency_overrides[get_user] = lambda: "reader"
    yield TestClient(app)
    app.dependency_overrides.clear()


def record(step: str, result: dict, night: str = NIGHT) -> None:
    """As the step itself would have recorded it."""
    body = {"step": step, "night": night, "key": "k", "memo": False, "seconds": 1.0} | result
    row = {"night": night, "step": step, "key": "k", "result": json.dumps(body), "seconds": 1.0, "at": datetime.now(UTC)}
    open_night("small", "local", night).lake.append("memo", [row])


@pytest.mark.parametrize("path", ["/", "/night?dag_id=nightly__small&run_id=x", f"/report/local/small/{NIGHT}/drift.html"])
def test_nobody_reads_without_signing_in(reports: Path, path: str) -> None:
    from plugins.pages import app

    assert TestClient(app).get(path).status_code == 401


def test_a_report_is_served_in_a_sandbox(client: TestClient) -> None:
    found = client.get(f"/report/local/small/{NIGHT}/drift.html")
    assert (found.status_code, found.text) == (200, "<h1>Drift</h1>")
    assert found.headers["content-security-policy"].startswith("sandbox ")


@pytest.mark.parametrize(
    "path", ["local/../secret.html", "local/%2e%2e/secret.html", "local/..%2fsecret.html", "local/small", "none/x.html", "..%2f/x.html"]
)
def test_nothing_outside_the_reports_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/report/{path}").status_code == 404


def test_the_page_shows_the_verdict_and_links_the_reports(client: TestClient, reports: Path) -> None:
    metric = {"champion": 0.5, "candidate": 0.75, "difference": 0.25, "low": 0.1, "high": 0.4}
    record("gate", {"verdict": "PROMOTE", "reason": "<b>better</b>", "metrics": {"accuracy": metric}})
    record("drift", {"report": str(reports / "drift.html")})
    text = client.get("/").text
    assert "PROMOTE" in text and "0.750" in text and f"/nightshift/report/local/small/{NIGHT}/drift.html" in text
    assert "<b>" not in text and "&lt;b&gt;better" in text


def test_the_page_tells_the_nights_before_and_why_one_moved_nothing(client: TestClient) -> None:
    why = "a later night has promoted already: version 3, on 2026-11-21"
    for night, version in (("2026-11-19", None), (NIGHT, "3")):
        record("evaluate", {"model_calls": 40}, night)
        record("gate", {"verdict": "PROMOTE", "reason": "better", "metrics": {}}, night)
        record("promote", {"champion_version": version, "why": why if version else "<i>"}, night)
    text = client.get("/").text
    assert f"<tr><td>{NIGHT}</td><td>PROMOTE</td><td>version 3</td><td>3 s</td><td>40</td><td>{why}</td></tr>" in text
    assert "<td>2026-11-19</td><td>PROMOTE</td><td>the base model</td>" in text and "<i>" not in text


def test_the_page_links_the_decision_and_serves_it(client: TestClient, reports: Path) -> None:
    (reports / "decision.html").write_text("<h1>PROMOTE</h1>")
    record("gate", {"verdict": "PROMOTE", "reason": "better", "metrics": {}})
    link = f"/nightshift/report/local/small/{NIGHT}/decision.html"
    assert link in client.get("/").text  # while somebody is asked to approve
    record("publish_card", {"decision": str(reports / "decision.html"), "card": str(reports / "none.md")})
    assert link in client.get("/").text
    assert client.get(link.removeprefix("/nightshift")).text == "<h1>PROMOTE</h1>"


def test_the_request_for_approval_links_where_the_console_serves() -> None:
    from pipelines.release.decision.brief import ROUTE
    from plugins.console import PREFIX

    assert f"{PREFIX}/report" == ROUTE


def test_a_use_case_without_a_night_says_what_to_run(client: TestClient) -> None:
    assert "make nightly USECASE=small" in client.get("/").text


def test_the_night_of_an_unknown_run_is_not_found(client: TestClient) -> None:
    prepare()
    assert client.get("/night", params={"dag_id": "nightly__small", "run_id": "none"}).status_code == 404


def test_airflow_loads_the_plugin_and_only_that_module() -> None:
    from airflow import plugins_manager

    prepare()
    names = [plugin.name for plugin in plugins_manager._get_plugins()[0] if type(plugin).__module__ == "console"]
    assert names == ["nightshift"]
