"""What is said when a step fails."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from plugins.notify import Alert, describe
from plugins.steps import Step

TASK = SimpleNamespace(given=["support", "local", "2026-11-20"])
CONTEXT = {
    "ti": SimpleNamespace(dag_id="nightly__support", run_id="r", task_id="validate", task=TASK),
    "exception": ValueError("min_rows"),
}


class Webhook(HTTPServer):
    """Keeps what was posted."""

    def __init__(self, status: int) -> None:
        self.status, self.posted = status, []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers every POST."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((json.loads(body), self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(params=[200, 500])
def webhook(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook(request.param)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}/hook", "password": "token"}
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTSHIFT_ALERTS", json.dumps(connection))
    yield server
    server.shutdown()


def test_the_alert_names_dag_night_step_and_reason() -> None:
    assert describe(CONTEXT)["text"] == "nightly__support, night 2026-11-20: validate failed: min_rows"


def test_the_webhook_of_the_connection_gets_json_and_its_errors_change_nothing(webhook: Webhook) -> None:
    Alert().notify(CONTEXT)
    [(body, token)] = webhook.posted
    assert (body["task_id"], body["night"], body["error"], token) == ("validate", "2026-11-20", "min_rows", "Bearer token")


def spend(usecase: str, profile: str, night: str) -> dict:
    return {"step": "evaluate", "memo": night == "2026-11-19", "alerts": ["80% of budget.night (5 dollars) is reached"]}


def test_a_cap_that_comes_near_is_posted_once_and_not_again_from_the_memo(webhook: Webhook) -> None:
    for night in ("2026-11-19", "2026-11-20"):
        Step(work=spend, given=("support", "local", night)).execute(CONTEXT)
    [(body, _)] = webhook.posted
    assert body["text"] == "nightly__support: 80% of budget.night (5 dollars) is reached" and body["run_id"] == "r"
