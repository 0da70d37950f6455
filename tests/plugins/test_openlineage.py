"""Each step tells OpenLineage what it read and wrote, where the provider is set up, and nothing where it is not."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.foundation.records import TABLES
from pipelines.foundation.step import ORDER
from plugins import bootstrap
from plugins.lineage_events import STEPS

House = Callable[..., Path]
NIGHT = "2026-11-20"
DAG = """
from airflow.sdk import DAG

from pipelines.foundation.step import Night, step
from pipelines.sections import UseCase
from plugins.defaults import NIGHT, PROFILE, shared
from plugins.steps import Step


@step(code=1)
def scrub(night: Night) -> dict:
    rows = [{"row_id": "a", "night": night.night, "text": "secret"}]
    return {"clean": night.lake.replace("clean", rows, night=night.night), "rows": 1}


USECASE = UseCase(name="small", description="A use case", sources=[{"path": "x"}], gate={"metrics": {}})
with DAG("small", schedule=None, **shared(USECASE)) as dag:
    Step(work=scrub, given=("small", PROFILE, NIGHT))

if __name__ == "__main__":
    print("state", dag.test(run_conf={"night": "2026-11-20", "profile": "local"}).state)
"""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict]]]:
    """An address on loopback, and the events that were sent to it."""
    events: list[dict] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", events
        server.shutdown()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Airflow of these tests' own; its database is made by the first run."""
    state = tmp_path_factory.mktemp("openlineage")
    (state / "dags").mkdir()
    (state / "dags/small.py").write_text(DAG, encoding="utf-8")
    return state


def ran(home: Path, **more: str) -> str:
    """What a process of its own prints that runs the DAG there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OPENLINEAGE", "PYTEST"))}
    folder = {"AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"), "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "30"}
    code = "import runpy; from plugins import bootstrap; bootstrap.prepare(); runpy.run_path('dags/small.py', run_name='__main__')"
    env = kept | bootstrap.environment(home) | folder | more
    told = subprocess.run([sys.executable, "-c", code], env=env, cwd=home, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr[-3000:]
    return told.stdout


def test_every_step_is_declared_with_tables_of_the_house() -> None:
    assert tuple(STEPS) == ORDER
    for name, work in STEPS.items():
        assert {*work.reads, *work.writes} <= TABLES.keys(), (
            f"{name} in plugins/lineage_events.py names a table that the house does not have"
        )


def test_a_step_emits_what_it_reads_and_writes_and_no_text(house: House, home: Path, receiver: tuple[str, list[dict]]) -> None:
    pytest.importorskip("airflow.providers.openlineage", reason="apache-airflow-providers-openlineage is not installed")
    house()
    address, events = receiver
    assert "state success" in ran(home, AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps({"type": "http", "url": address})).lower()
    start, done = (
        next(e for e in events if e["eventType"] == kind and e["job"]["name"] == "small.scrub") for kind in ("START", "COMPLETE")
    )
    for event in (start, done):
        assert [(one["namespace"], one["name"]) for one in event["inputs"]] == [("file", "small.traffic"), ("file", "small.quarantine")]
        assert event["run"]["facets"]["nightshift"]["night"] == NIGHT
    assert [one["name"] for one in start["outputs"]] == ["small.clean", "small.pseudonyms"]
    [clean] = done["outputs"]
    assert clean["facets"]["version"]["datasetVersion"] == "1" and clean["outputFacets"]["outputStatistics"]["rowCount"] == 1
    assert {"name": "row_id", "type": "string"}.items() <= clean["facets"]["schema"]["fields"][0].items()
    assert len(done["run"]["facets"]["nightshift"]["key"]) == 16 and "secret" not in json.dumps(events)


def test_nothing_is_emitted_where_nothing_is_set_up(house: House, home: Path, receiver: tuple[str, list[dict]]) -> None:
    house()
    assert "state success" in ran(home).lower() and not receiver[1]
