"""Tells people that a step failed, waits for them, or comes near a cap: a line in the log and a webhook.

The webhook is called where the Airflow connection `nightshift_alerts` exists, of type HTTP: its host is the webhook's URL
(`https://hooks.example.org/services/...`), its password (optional) is sent as a bearer token. The body is JSON with the keys
text, dag_id, run_id and task_id, and night and error of a failure, or the link of a question.
"""

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, BaseNotifier
from airflow.sdk.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

CONNECTION = "nightshift_alerts"
TIMEOUT_SECONDS = 10


class Alert(BaseNotifier):
    """For on_failure_callback."""

    def notify(self, context: "Context") -> None:
        """Log the failure and post it; a webhook that does not answer is logged, and changes nothing about the run."""
        body = describe(context)
        self.log.error(body["text"])
        self.send(body)

    def send(self, body: dict[str, str]) -> None:
        """Post to the webhook, where the connection exists."""
        try:
            connection = BaseHook.get_connection(CONNECTION)
        except AirflowNotFoundException:
            return
        try:
            post(connection, body)
        except (urllib.error.URLError, TimeoutError, ValueError) as error:
            self.log.error("the webhook of the connection %s did not take the alert: %s", CONNECTION, error)


class Question(Alert):
    """For the task `approve`: somebody is waited for."""

    def notify(self, context: "Context") -> None:
        """Log and post where the question is answered."""
        from airflow.providers.standard.operators.hitl import HITLOperator

        ti, link = context["ti"], HITLOperator.generate_link_to_ui_from_context(context=context)
        text = f"{ti.dag_id}: a promotion waits for an approval: {link}"
        self.log.info(text)
        self.send({"text": text, "dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "link": link})


def warn(ti: "RuntimeTaskInstanceProtocol", text: str) -> None:
    """Log and post what somebody should know though the step went on: a cap that comes near, a champion that must be replaced."""
    alert = Alert()
    alert.log.warning(text)
    alert.send({"text": f"{ti.dag_id}: {text}", "dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id})


def describe(context: "Context") -> dict[str, str]:
    """What is said about a failure; the use case, the profile and the night are the step's own arguments."""
    ti = context["ti"]
    error = str(context.get("exception") or "no message")
    given = list(getattr(ti.task, "given", None) or [])
    night = str(given[2]) if len(given) == 3 else ""
    text = f"{ti.dag_id}, night {night or 'unknown'}: {ti.task_id} failed: {error}"
    return {"text": text, "dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "night": night, "error": error}


def post(connection: "Connection", body: dict[str, str]) -> None:
    """Send the body to the webhook; raises URLError, TimeoutError or ValueError."""
    url = connection.host or ""
    if "://" not in url:
        url = f"{connection.schema or 'https'}://{url}"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"the host of the connection {CONNECTION} must be an http or https URL")
    headers = {"Content-Type": "application/json"}
    if connection.password:
        headers["Authorization"] = f"Bearer {connection.password}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        response.read()
