"""Airflow's connections for a source that is a query: lent to the task through its environment, where `pipelines` looks.

So a connection may stand in Airflow's database, in any secrets backend, or in the environment already; `pipelines` knows
none of them but the last. Airflow masks a connection that it has handed out in the task's log.
"""

import os

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from pipelines.settings import load_usecase


def lend(usecase: str) -> None:
    """Set AIRFLOW_CONN_<NAME> for each connection that the use case's sources name; one that nobody knows is left to ingest to name."""
    for name in {source.connection for source in load_usecase(usecase).sources if source.connection}:
        variable = f"AIRFLOW_CONN_{name.upper()}"
        if variable in os.environ:
            continue
        try:
            os.environ[variable] = Connection.get(name).get_uri()
        except AirflowNotFoundException:
            continue
