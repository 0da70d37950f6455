"""What a person sees of a night that runs in this process: the steps' own lines with the time, and none of Airflow's.

Everything that the steps say also goes to one log file for people, and to the file in which the Airflow UI looks for
the log of that task.
"""

import json
import logging
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from pluggy import HookimplMarker

from pipelines.errors import UserError
from pipelines.settings import ROOT

if TYPE_CHECKING:
    from types import TracebackType

    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

hookimpl = HookimplMarker("airflow")  # airflow.listeners.hookimpl, without importing airflow before its environment is set
STARTED = time.perf_counter()


class Failure(NamedTuple):
    """A step that failed."""

    step: str
    message: str


def say(text: str) -> None:
    """One line with the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.perf_counter() - STARTED), 60)
    print(f"{minutes:02d}:{seconds:02d}  {text}", flush=True)


class Progress(logging.Handler):
    """A log handler for `pipelines` and an Airflow listener, while the `with` block lasts."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self.path = path
        self.failures: list[Failure] = []
        self._task_log: Path | None = None

    def __enter__(self) -> Self:
        from airflow.sdk.listener import get_listener_manager

        self.path.parent.mkdir(parents=True, exist_ok=True)
        logger = logging.getLogger("pipelines")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)
        # Its warnings list every task that waits for a failed one, each second until all of them are skipped.
        logging.getLogger("airflow.sdk.definitions.dag").setLevel(logging.ERROR)
        get_listener_manager().add_listener(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("pipelines").removeHandler(self)
        # The manager has no public way to take one listener out, and this process ends with its only night.

    def emit(self, record: logging.LogRecord) -> None:
        """Show and keep one line of a step."""
        text = record.getMessage()
        say(text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}")
        self._keep(record.levelname.lower(), record.name, text)

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: "RuntimeTaskInstance") -> None:
        """A step starts: its lines belong to its own log from here."""
        from airflow.configuration import conf

        ti = task_instance
        folder = Path(conf.get_mandatory_value("logging", "base_log_folder"))
        self._task_log = folder / f"dag_id={ti.dag_id}" / f"run_id={ti.run_id}" / f"task_id={ti.task_id}" / f"attempt={ti.try_number}.log"
        self._task_log.parent.mkdir(parents=True, exist_ok=True)

    @hookimpl
    def on_task_instance_failed(
        self, previous_state: object, task_instance: "RuntimeTaskInstance", error: BaseException | str | None
    ) -> None:
        """A step failed: a mistake that its message explains needs no traceback, anything else is shown whole."""
        if isinstance(error, KeyboardInterrupt):
            raise error  # to Airflow it is a failure like others; the person who pressed Ctrl-C wants the whole night to end
        self.failures.append(Failure(task_instance.task_id, str(error)))
        if isinstance(error, BaseException) and not isinstance(error, UserError):
            text = "".join(traceback.format_exception(type(error), error, _ours(error)))
            print(text, flush=True)
            self._keep("error", "task", text)
            self.failures[-1] = Failure(task_instance.task_id, f"{type(error).__name__}: {error}")
        self._keep("error", "task", f"{task_instance.task_id} failed: {error}")

    def _keep(self, level: str, name: str, text: str) -> None:
        now = datetime.now(UTC).isoformat()
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{now} {level} {name}: {text}\n")
        if self._task_log:
            with self._task_log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"timestamp": now, "level": level, "logger": name, "event": text}) + "\n")


def _ours(error: BaseException) -> "TracebackType | None":
    """The traceback from the first frame of this project on, without Airflow's sixteen frames before it."""
    here = error.__traceback__
    while here and not here.tb_frame.f_code.co_filename.startswith(str(ROOT / "pipelines")):
        here = here.tb_next
    return here or error.__traceback__
