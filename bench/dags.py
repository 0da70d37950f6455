"""Parse time of each DAG file in a fresh process, and what it loads: `python -m bench.dags`.

Airflow parses every file every 30 s and again at the start of every task. The aim is below 0.5 s a file.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = """
import os, sys, time
from pathlib import Path
from plugins import bootstrap
os.environ |= bootstrap.environment(Path(sys.argv[2]))
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
import airflow.sdk.execution_time.task_runner, airflow.dag_processing.processor
before = len(sys.modules)
started = time.perf_counter()
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
seconds = time.perf_counter() - started
loaded = len(sys.modules) - before
print(f"{Path(sys.argv[1]).name:<20} {seconds:6.3f} s  {len(bag.dags)} DAGs  {loaded} modules", *bag.import_errors.values())
"""


def main() -> int:
    """Returns 0; the figures are for people."""
    with tempfile.TemporaryDirectory() as state:
        for path in sorted((ROOT / "dags").glob("*.py")):
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-W", "ignore", "-c", CODE, str(path), state]
            found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
            print(found.stdout.strip().splitlines()[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
