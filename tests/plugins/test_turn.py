"""Nights in their order: which runs a night waits for."""

from typing import NamedTuple

import pytest

from plugins.turn import Turn


class Run(NamedTuple):
    """What the task reads of a run."""

    run_type: str
    state: str = "running"
    run_id: str = "another"


class Instance(NamedTuple):
    """A task instance whose earlier runs are these, one a state."""

    earlier: dict[str, Run]

    def get_previous_dagrun(self, state: str) -> Run | None:
        """The nearest one before it."""
        return self.earlier.get(state)


QUEUED = Run("backfill", "queued")


@pytest.mark.parametrize(
    ("run", "earlier", "begins"),
    [
        pytest.param("scheduled", {}, True, id="nothing earlier"),
        pytest.param("scheduled", {"running": Run("backfill")}, False, id="the schedule waits for a backfill"),
        pytest.param("scheduled", {"queued": QUEUED}, False, id="also between two of its nights"),
        pytest.param("scheduled", {"queued": Run("scheduled", "queued")}, True, id="not for what waits for the same place"),
        pytest.param("backfill", {"running": Run("scheduled")}, False, id="a backfill waits for the schedule"),
        pytest.param("backfill", {"queued": QUEUED}, True, id="a backfill that runs backwards does not wait for itself"),
    ],
)
def test_a_night_begins_when_no_earlier_one_is_under_way(run: str, earlier: dict[str, Run], begins: bool) -> None:
    assert Turn().poke({"ti": Instance(earlier), "dag_run": Run(run)}) is begins
