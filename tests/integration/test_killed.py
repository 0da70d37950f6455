"""Two nights that are killed at 50 places and more, and run again each time, end as two that nobody disturbed.

NIGHTSHIFT_KILLS_SEED chooses the places; `python -m bench.kills --places` names them.
"""

import os

import pytest

from pipelines.foundation.step import ORDER
from tests.killing import nights
from tests.killing.nights import Report

SEED = int(os.environ.get("NIGHTSHIFT_KILLS_SEED", "1"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Report:
    """Both pairs of nights, in under four minutes."""
    report = nights.run(tmp_path_factory.mktemp("nights"), SEED)
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    terminal.ensure_newline()
    terminal.write_line(report.told())
    return report


def test_fifty_kills_land_and_no_step_is_spared(found: Report) -> None:
    assert sum(found.killed.values()) >= 50, found.told()
    assert [step for step in ORDER if not found.killed[step]] == []


def test_a_killed_night_leaves_what_an_undisturbed_one_leaves(found: Report) -> None:
    """Tables row by row, results, ledger, registry, runs, models, loss curves, files, the book and the bill."""
    assert not found.differences, f"seed {SEED}, killed at\n" + "\n".join([*found.places, "and different in", *found.differences])


def test_nothing_is_paid_twice_and_nothing_stays_reserved(found: Report) -> None:
    assert found.dollars[0] == found.dollars[1] != "0"
    assert found.reserved == []


def test_a_kill_loses_at_most_a_chunk_or_an_interval_between_checkpoints(found: Report) -> None:
    assert not found.loss, f"seed {SEED}: {found.loss}"


def test_what_no_table_names_is_gone_after_the_sweep(found: Report) -> None:
    assert found.orphans[1] == 0
