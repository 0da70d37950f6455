"""A process that has imported the heavy libraries and runs nothing of them: each try of a step is a fork of it, which may be killed.

A fork costs a few milliseconds where an interpreter costs half a minute of imports. Nothing with threads has run before
the fork (no OpenMP, no tokio, no connection), so a child is as good as a new process. Commands are JSON lines on standard
input, answers JSON lines on standard output: see `Forge`.

    python -m tests.killing.forge
"""

import gc
import importlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

from pipelines.__main__ import STEPS
from pipelines.settings import ROOT
from tests.killing.house import NAME

LIBRARIES = (
    *("pandas", "pyarrow.compute", "deltalake", "torch", "transformers", "peft", "safetensors.torch", "sklearn.linear_model"),
    *("sklearn.pipeline", "sklearn.feature_extraction.text", "scipy.stats", "mlflow", "mlflow.store.tracking.sqlalchemy_store"),
    *(
        "mlflow.store.model_registry.sqlalchemy_store",
        "great_expectations",
        "presidio_analyzer",
        "evidently",
        "evidently.presets",
        "evidently.legacy.calculations.stattests",
        "requests",
        "matplotlib",
        "jsonschema",
    ),
)
# What changes the disk for good, by the name of the C function: between two of these nothing can be seen from outside.
LASTING = frozenset(
    ("commit", "write", "write_to_deltalake", "create_deltalake", "link", "replace", "rename", "unlink", "rmdir", "mkdir", "serialize_file")
)
# A place is named after the caller of these.
THROUGH = [f"pipelines.foundation.{name}" for name in ("lake", "ledger", "memo", "numbered", "purse", "scratch", "spend", "tab", "till")]
CHUNK, WINDOW = 4, 8  # rows answered, and calls kept, at once: the house is small, so that a chunk is more than nothing
LONGEST = 120  # seconds of one try


class Kill(NamedTuple):
    """Where a try ends: so many seconds after it began, at a place (before or after a lasting change), or so long after the place."""

    seconds: float = 0.0
    place: str = ""  # say "finetune._keep 3 after commit": the third lasting change of a call of that function


NOT = Kill()


class Tried(NamedTuple):
    """How a try ended."""

    killed: bool
    seconds: float  # from the step's beginning
    said: list[dict]  # what the child announced
    error: str  # empty: none


class Forge:
    """The process, from `with` to its end."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Self:
        own = {
            "NIGHTSHIFT_CONFIG": str(self.root / "config"),
            "NIGHTSHIFT_STATE": str(self.root / "state"),
            "TMPDIR": str(self.root / "tmp"),
        }
        own |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing.forge"],
            cwd=ROOT,
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def run(self, do: str, *given: object, kill: Kill = NOT) -> Tried:
        """Fork a child that does `module:function` with what is given."""
        assert self._process.stdin and self._process.stdout
        command = {"do": do, "given": given, "kill": kill._asdict(), "log": str(self.root / "log.txt")}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return Tried(**json.loads(self._process.stdout.readline()))


def main() -> None:
    """Import, then serve."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for module in STEPS.values():
        importlib.import_module(f"pipelines.{module}")
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(attempt(**json.loads(line))._asdict()), flush=True)


def attempt(do: str, given: list, kill: dict, log: str) -> Tried:
    """One child, from its fork to its end."""
    seconds, place = kill["seconds"], kill["place"]
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        _work(do, given, place, bool(place and seconds), theirs, log)
    os.close(theirs)
    began, said, held = time.monotonic(), [], b""
    end = began + (LONGEST if place else seconds or LONGEST)
    while True:
        if not select.select([ours], [], [], max(end - time.monotonic(), 0))[0]:
            os.kill(child, signal.SIGKILL)
            end = time.monotonic() + LONGEST
            continue
        if not (part := os.read(ours, 65_536)):
            break
        *lines, held = (held + part).split(b"\n")
        said += [json.loads(line) for line in lines]
        if place and any("at" in told for told in said[-len(lines) :]):
            end = time.monotonic() + seconds
    os.close(ours)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    error = "" if killed or status == 0 else Path(log).read_text(encoding="utf-8")[-6_000:]
    return Tried(killed, time.monotonic() - began, said, error)


def _work(do: str, given: list, place: str, tells: bool, pipe: int, log: str) -> None:
    """The child: it never returns. At the place it kills itself, or `tells` that it is there."""
    with open(log, "w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)

    def tell(**what: object) -> None:
        os.write(pipe, json.dumps(what).encode() + b"\n")

    try:
        module, _, name = do.partition(":")
        work = getattr(importlib.import_module(module), name)
        places = _watch(place, (lambda: tell(at=place)) if tells else lambda: os.kill(os.getpid(), signal.SIGKILL))
        work(tell, *given)
        sys.setprofile(None)
        tell(places=list(places))
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def step(tell: Callable[..., None], name: str, night: str) -> None:
    """One step of the night, as its task runs it."""
    import torch

    from pipelines.evaluation import answers
    from pipelines.foundation import decoding, llm
    from pipelines.tuning import loop

    torch.set_num_threads(1)
    answers.CHUNK, llm.WINDOW = CHUNK, WINDOW
    generate, train = decoding.generate, loop.train

    def counted(model: object, tokenizer: object, texts: list[str], *given: object, **options: object) -> list:
        tell(answers=len(texts))
        return generate(model, tokenizer, texts, *given, **options)

    def followed(*given: object) -> dict:
        *rest, on_step = given

        def told(at: dict) -> None:
            on_step(at)
            tell(step=at["step"], seconds=at["seconds"])

        return train(*rest, told)

    decoding.generate, loop.train = counted, followed
    run = getattr(importlib.import_module(f"pipelines.{STEPS[name]}"), name)
    tell(result=run(NAME, "local", night))


def night(tell: Callable[..., None], date: str) -> None:
    """All steps in one process."""
    for name in STEPS:
        step(tell, name, date)


def _watch(wanted: str, act: Callable[[], None]) -> dict[str, None]:
    """Note the places around lasting changes on this thread, and act at the one that is wanted."""
    passed: dict[str, None] = {}
    caller, count, counts = None, 0, False

    def watch(frame: FrameType, event: str, called: object) -> None:
        nonlocal caller, count, counts
        if event[:2] != "c_" or called.__name__ not in LASTING:
            return
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str | list | io.IOBase):
            return
        found = _ours(frame)
        if event == "c_call":
            counts = getattr(owner, "in_transaction", True)  # an empty commit changes nothing
            if found is not caller:
                caller, count = found, 0
            count += counts
        if counts and caller:
            where = f"{caller.f_globals['__name__'].rpartition('.')[2]}.{caller.f_code.co_name}"
            place = f"{where} {count} {'before' if event == 'c_call' else 'after'} {called.__name__}"
            if place == wanted and place not in passed:
                act()
            passed[place] = None

    sys.setprofile(watch)
    return passed


def _ours(frame: FrameType | None) -> FrameType | None:
    """The innermost function of the pipelines on whose behalf the disk is changed."""
    while frame and (not (name := frame.f_globals.get("__name__", "")).startswith("pipelines.") or name in THROUGH):
        frame = frame.f_back
    return frame


if __name__ == "__main__":
    main()
