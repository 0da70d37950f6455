"""The task `turn`: a night begins when no earlier night of its use case is under way, so that nights run in their order.

`max_active_runs=1` of a DAG does not see to that, because Airflow counts the runs of a backfill apart: `airflow backfill
create` runs ten nights at once, and the schedule begins last night's run beside a backfill. Nights that overlap take each
other's files, and are compared with a champion that is about to be replaced.
"""

import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

POLL_SECONDS = 30.0
LONGEST = datetime.timedelta(hours=24)


class Turn(BaseSensorOperator):
    """Waits without a worker; after LONGEST it fails, and its alert tells. What a person triggers, by no date, does not wait."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(task_id="turn", mode="reschedule", poke_interval=POLL_SECONDS, timeout=LONGEST, **kwargs)

    def poke(self, context: "Context") -> bool:
        """Whether this night may begin."""
        found = context["ti"].get_previous_dagrun("running")
        if found is None and context["dag_run"].run_type != "backfill":
            # Between two nights of a backfill none is running. A backfill itself does not wait for its own queue, which waits for it.
            queued = context["ti"].get_previous_dagrun("queued")
            found = queued if queued is not None and queued.run_type == "backfill" else None
        if found is not None:
            self.log.info("waits for %s, which is %s and works on an earlier night", found.run_id, found.state)
        return found is None
