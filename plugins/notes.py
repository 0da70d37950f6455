"""The note of a DAG run in the Airflow UI: what came from the memo, what the run cost, and the verdict.

A listener in whatever process ends the run: the scheduler, or this one under `dag.test()`. The figures come from the
results that the steps returned, so a run without a step of ours gets no note. What a person has written stays in front.
"""

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from pluggy import HookimplMarker

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

hookimpl = HookimplMarker("airflow")  # airflow.listeners.hookimpl
MARK = "Nightshift: "
LONGEST = 1_000  # characters that the database holds


@hookimpl
def on_dag_run_success(dag_run: "DagRun", msg: str) -> None:
    """All tasks ended well."""
    attach(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: "DagRun", msg: str) -> None:
    """A task failed: what was done before it was paid for all the same."""
    attach(dag_run)


def attach(dag_run: "DagRun") -> None:
    """Set or renew the note: in the transaction that ends the run, or, where the run comes without one (`dag.test()`), in its own."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is not None:
        with session.no_autoflush:
            _write(session, dag_run)
        return
    with create_session() as own:
        if (found := own.get(DagRun, dag_run.id)) is not None:
            _write(own, found)


def _write(session: "Session", dag_run: "DagRun") -> None:
    from airflow.models.dagrun import DagRunNote
    from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
    from sqlalchemy import select

    wanted = (XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == XCOM_RETURN_KEY)
    rows = session.execute(select(XComModel.task_id, XComModel.value).where(*wanted)).all()
    results = {task: value for task, value in rows if isinstance(value, dict) and isinstance(value.get("memo"), bool)}
    if not results:
        return
    note = dag_run.dag_run_note
    written = (note.content or "") if note else ""
    theirs = "" if written.startswith(MARK) else written.partition(f"\n\n{MARK}")[0]
    content = f"{theirs}\n\n{MARK}{summary(results)}".lstrip()[:LONGEST]
    if note is None:
        dag_run.dag_run_note = DagRunNote(content=content)
    else:
        note.content = content


def summary(results: dict[str, dict]) -> str:
    """One line about results by task; a result from the memo cost this run nothing, whatever it says of itself."""
    fresh = [found for found in results.values() if not found["memo"]]
    calls, reused = (sum(_count(found, key) for found in fresh) for key in ("model_calls", "reused_calls"))
    from_memo = f", {reused} replies from the memo" if reused else ""
    figures = f"{len(results) - len(fresh)} of {len(results)} steps from the memo, {calls} model calls{from_memo}, {_dollars(fresh)}"
    verdict = next((found["verdict"] for found in results.values() if isinstance(found.get("verdict"), str)), "")
    partial = [task for task, found in results.items() if found.get("partial")]
    parts = [figures, *([f"verdict {verdict}"] if verdict else []), *([f"partial: {', '.join(partial)}"] if partial else [])]
    return "; ".join(parts)


def _count(found: dict, key: str) -> int:
    return found[key] if type(found.get(key)) is int else 0


def _dollars(results: list[dict]) -> str:
    total = Decimal(0)
    for found in results:
        try:
            total += Decimal(str(found.get("spent") or 0))
        except InvalidOperation:
            continue
    return f"${total:.2f}" if total == 0 or total >= Decimal("0.01") else f"${total:.6f}".rstrip("0")
