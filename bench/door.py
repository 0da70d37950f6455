"""The door to a server beside other ways to ask it, 500 rows x 2 judgements at 200 ms a call: `python -m bench.door`.

Every contender is a process of its own and has a fresh copy of the same server (tests/billing.py, a process too), which
also says how many calls it saw at once. Clocks start after a warm-up of two rows, so that no import is measured.
MLflow: `mlflow.genai.evaluate` with two `make_judge` judges and an SQLite file in a fresh folder; once with 60 connections
to it, and once at its defaults, where its threads wait for five of them, on 50 rows and scaled.
DeepEval: `evaluate` with two `GEval` metrics whose steps are given (one call a judgement) and a model of our own over
httpx, which is what it asks for where a server is not OpenAI's; defaults but for its printing. It needs other versions of
what the project needs, so uv runs it in an environment of its own (requirements-deepeval.txt).
The sequential loop makes 50 calls over one `requests` session, and its seconds are scaled to all of them.
Ideal: calls in rounds of as many as were seen at once, 200 ms each. The door: median of three.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LATENCY = 0.2  # seconds
ROWS = 500
LONG = 12_800  # calls of the long run
FEW = 50  # calls of the sequential loop
REQUIREMENTS = ROOT / "bench/requirements-deepeval.txt"
SCHEMA = {"type": "object", "properties": {"reason": {"type": "string"}, "score": {"type": "number"}}, "required": ["reason", "score"]}
CRITERIA = ("Is the reply right?", "Is the reply polite?")


class Contender(NamedTuple):
    """One way to ask; `ask(url, rows)` makes two calls a row and returns how many were answered."""

    label: str
    ask: Callable[[str, int], int]
    calls: int
    runs: int = 1
    scale: float = 1.0


def sentences(rows: int) -> list[tuple[str, str]]:
    """Questions and replies, no two alike."""
    return [(f"Where is card {row}? " * 6, f"Card {row} comes within five days. " * 4) for row in range(rows)]


def door(url: str, rows: int, in_flight: int) -> int:
    """Nightshift."""
    from pipelines.foundation.messages import Call, Request
    from pipelines.foundation.server import stream
    from pipelines.sections import Endpoint

    endpoint = Endpoint(kind="openai", url=url, model="paid-model", in_flight=in_flight, structured=True)
    calls = (
        Call(f"{place}-{number}", Request(criterion, f"{question}\n{reply}", 64, schema=SCHEMA))
        for place, (question, reply) in enumerate(sentences(rows))
        for number, criterion in enumerate(CRITERIA)
    )
    return sum(answered.reply.error is None for answered in stream(endpoint, calls))


def loop(url: str, rows: int) -> int:
    """One call after the other."""
    import requests

    found = 0
    with requests.Session() as session:
        for question, reply in sentences(rows):
            for criterion in CRITERIA:
                messages = [{"role": "system", "content": criterion}, {"role": "user", "content": f"{question}\n{reply}"}]
                body = {"model": "paid-model", "messages": messages, "max_tokens": 64, "temperature": 0}
                found += bool(session.post(f"{url}/chat/completions", json=body, timeout=60).json()["choices"][0]["message"]["content"])
    return found


def mlflow(url: str, rows: int) -> int:
    """MLflow's evaluation."""
    from mlflow import genai
    from mlflow.genai.judges import make_judge

    judges = [
        make_judge(
            name=f"judge_{number}",
            instructions=f"{criterion} {{{{ inputs }}}} {{{{ outputs }}}}",
            model="openai:/paid-model",
            feedback_value_type=bool,
            base_url=f"{url}/chat/completions",
        )
        for number, criterion in enumerate(CRITERIA)
    ]
    data = [{"inputs": {"question": question}, "outputs": reply} for question, reply in sentences(rows)]
    found = genai.evaluate(data=data, scorers=judges).result_df
    return int(sum(found[f"judge_{number}/value"].notna().sum() for number in range(len(CRITERIA))))


def deepeval(url: str, rows: int) -> int:
    """DeepEval's runner."""
    import deepeval as library
    import httpx
    from deepeval.evaluate.configs import DisplayConfig
    from deepeval.metrics import GEval
    from deepeval.models import DeepEvalBaseLLM
    from deepeval.test_case import LLMTestCase, SingleTurnParams

    client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=1_000))

    class Server(DeepEvalBaseLLM):
        def load_model(self) -> "Server":
            return self

        def get_model_name(self) -> str:
            return "paid-model"

        def generate(self, prompt: str, schema: type | None = None) -> object:
            raise NotImplementedError

        async def a_generate(self, prompt: str, schema: type | None = None) -> object:
            form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema.model_json_schema() if schema else SCHEMA}}
            body = {"model": "paid-model", "messages": [{"role": "user", "content": prompt}], "max_tokens": 64, "response_format": form}
            said = (await client.post(f"{url}/chat/completions", json=body)).json()["choices"][0]["message"]["content"]
            return schema.model_validate_json(said) if schema else said

    params = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT]
    metrics = [
        GEval(name=criterion, evaluation_params=params, evaluation_steps=[criterion], model=Server(), threshold=0.5)
        for criterion in CRITERIA
    ]
    cases = [LLMTestCase(input=question, actual_output=reply) for question, reply in sentences(rows)]
    quiet = DisplayConfig(show_indicator=False, print_results=False, inspect_after_run=False)
    found = library.evaluate(cases, metrics, display_config=quiet)
    return sum(metric.score is not None for result in found.test_results for metric in result.metrics_data or [])


CONTENDERS = {
    "door_32": Contender("Nightshift, 32 in flight", lambda url, rows: door(url, rows, 32), 2 * ROWS, runs=3),
    "door_128": Contender("Nightshift, 128 in flight", lambda url, rows: door(url, rows, 128), 2 * ROWS, runs=3),
    "door_long": Contender("Nightshift, 128, long run", lambda url, rows: door(url, rows, 128), LONG, runs=3),
    "deepeval": Contender("DeepEval", deepeval, 2 * ROWS),
    "mlflow_60": Contender("MLflow, a larger pool", mlflow, 2 * ROWS),
    "mlflow": Contender("MLflow, defaults, scaled", mlflow, 100, scale=2 * ROWS / 100),
    "loop": Contender("sequential loop, scaled", loop, FEW, scale=2 * ROWS / FEW),
}


def measure(name: str, url: str) -> None:
    """Print the figures of one contender, in this process."""
    contender = CONTENDERS[name]
    contender.ask(url, 2)
    started, worked = time.perf_counter(), time.process_time()
    answered = contender.ask(url, contender.calls // 2)
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked, "answered": answered}
    print(json.dumps(found | {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000}))


def run(name: str) -> dict:
    """The figures of one contender, in a process of its own with a server of its own."""
    from tests.billing import BillingServer, Terms

    command = [sys.executable, __file__]
    if name == "deepeval":
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [
            str(Path(sys.executable).parent / "uv"),
            "run",
            "-q",
            "--isolated",
            "--no-project",
            "--python",
            python,
            "--with-requirements",
            str(REQUIREMENTS),
        ]
        command += ["python", __file__]
    with BillingServer(Terms(latency=LATENCY)) as server, tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "none", "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DEEPEVAL_TELEMETRY_OPT_OUT": "YES"}
        environment |= {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "60"} if name == "mlflow_60" else {}
        found = subprocess.run(
            [*command, "--contender", name, "--url", server.url], cwd=folder, env=environment, capture_output=True, text=True
        )
        if found.returncode:
            raise SystemExit(f"{name} failed:\n{found.stderr[-3_000:]}")
        return json.loads(found.stdout.strip().splitlines()[-1]) | {"at_once": server.bill()["most_at_once"]}


def line(name: str) -> str:
    """A row of the table."""
    contender = CONTENDERS[name]
    runs = sorted((run(name) for _ in range(contender.runs)), key=lambda found: found["seconds"])
    seconds, cpu, memory = (statistics.median(found[key] for found in runs) for key in ("seconds", "cpu", "megabytes"))
    at_once = max(found["at_once"] for found in runs)
    ideal = math.ceil(contender.calls / at_once) * LATENCY
    lost = contender.calls - min(found["answered"] for found in runs)
    wall, spread = seconds * contender.scale, (runs[-1]["seconds"] - runs[0]["seconds"]) * contender.scale
    return (
        f"{contender.label:26s} {round(contender.calls * contender.scale):6d} {wall:8.2f} {spread:7.2f} {contender.calls / seconds:8.1f} "
        f"{at_once:8d} {ideal / seconds:7.1%} {cpu / contender.calls * 1_000:8.2f} {memory:7.0f} {lost / contender.calls:6.1%}"
    )


def main() -> int:
    """Run; returns 0: the figures are for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--url", default="")
    options = parser.parse_args()
    if options.url:
        measure(options.contender, options.url)
        return 0
    print("                            calls  seconds  spread  calls/s  at once  of ideal  CPU ms  MB  lost")
    for name in [options.contender] if options.contender else CONTENDERS:
        print(line(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
