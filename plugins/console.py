"""Nightshift in the Airflow UI: a sidebar item with every use case's newest night, the tab Night of a run, and its note.

Every Airflow process imports this module, each task's too, so the pages (1.7 s of imports) wait for the first request.
"""

from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

from plugins import notes

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PREFIX = "/nightshift"


async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
    """The pages, as an ASGI application."""
    from plugins.pages import app as pages

    await pages(scope, receive, send)


class Console(AirflowPlugin):
    """What Airflow reads."""

    name = "nightshift"
    listeners = [notes]
    fastapi_apps = [{"app": app, "url_prefix": PREFIX, "name": "Nightshift"}]
    external_views = [
        {"name": "Nightshift", "href": f"{PREFIX}/", "destination": "nav", "url_route": "nightshift", "nav_top_level": True},
        {
            "name": "Night",
            "href": f"{PREFIX}/night?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "nightshift_run",
        },
    ]
