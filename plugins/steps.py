"""A step as an Airflow task: `Step(work=ingest.ingest, given=(usecase.name, PROFILE, NIGHT))`.

The task calls the function with what is given, and nothing lies between. Where a provider has the step's questions as a
batch, the task gives its worker back (it is deferred to `waiting.BatchDone`) and calls the same function again when the
batch has ended: what was paid for is in the memo by then.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from pipelines.errors import UserError, Waiting
from plugins import connections, lineage_events
from plugins.notify import warn

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context


class Step(BaseOperator):
    """One step of the night; its id is the function's name."""

    template_fields = ("given",)
    shallow_copy_attrs = ("work",)
    ui_color = "#e8f0fe"

    def __init__(self, *, work: Callable[..., dict], given: Sequence[str], **kwargs: Any) -> None:
        """`given`: use case, profile, and what else `work` takes; templates allowed."""
        super().__init__(task_id=work.__name__, **kwargs)
        self.work, self.given = work, given
        self.result: dict = {}

    def execute(self, context: "Context") -> dict:
        """The step's result; raises what the step raises, and waits where that is Waiting."""
        return self._run(context)

    def resume(self, context: "Context", event: dict[str, Any]) -> dict:
        """The same again after the batches have ended; raises UserError where one of them still has not."""
        return self._run(context, set(event["left"]), event["why"])

    def get_openlineage_facets_on_start(self) -> "OperatorLineage | None":
        """What the step will read and write; the OpenLineage provider asks, where it is installed."""
        return lineage_events.describe(self.task_id, self.given, {})

    def get_openlineage_facets_on_complete(self, _: object) -> "OperatorLineage | None":
        """The same with versions and row counts."""
        return lineage_events.describe(self.task_id, self.given, self.result)

    def _run(self, context: "Context", stuck: set[str] = frozenset(), why: str = "") -> dict:
        if self.task_id == "ingest":  # no other step reads a source
            connections.lend(self.given[0])
        try:
            result = self.work(*self.given)
        except Waiting as waiting:
            if stuck & {batch["batch"] for batch in waiting.batches}:
                raise UserError(f"{waiting}. It was given up: {why}. Look at the provider, then clear this task: it goes on") from None
            self._wait(waiting)
        self.log.info(origin(result))
        self.result = result
        if not result.get("memo"):
            for alert in result.get("alerts", ()):
                warn(context["ti"], alert)
        return result

    def _wait(self, waiting: Waiting) -> None:
        from plugins.waiting import BatchDone, deadline

        profile = self.given[1]
        until = deadline(profile, waiting.batches)
        self.log.info("%s; no worker is held, until %s at the latest", waiting, until)
        self.defer(trigger=BatchDone(profile, waiting.batches, until), method_name="resume")


def origin(result: dict) -> str:
    """Whether a result came from the memo, and what it cost; results without these keys, say of a rollback, are just done."""
    if "memo" not in result:
        return "done"
    name = result.get("step", "the step")
    if result["memo"]:
        return f"memo hit: {name} stands on the result that the same inputs gave before; nothing was computed or paid"
    parts = [f"{result.get('model_calls', 0)} model calls", f"{result.get('reused_calls', 0)} replies from the memo"]
    parts += [f"${result['spent']} spent"] if "spent" in result else []
    parts += [f"partial: {result['partial']}"] if result.get("partial") else []
    return f"memo miss: {name} was computed; {', '.join(parts)}"
