"""Keeps what was paid for within its bounds, and removes what killed work left: `python -m pipelines memo gc --usecase support`.

A DAG runs it every day.
"""

import logging
import shutil
import time
from pathlib import Path

from pipelines.foundation import memo, records, upkeep
from pipelines.foundation.step import Night, open_night
from pipelines.system.retention import retire

ANY_NIGHT = "9999-12-31"  # nothing here depends on a night
ORPHAN_HOURS = 24  # no write takes so long
CHECKPOINT_DAYS = 14  # without a step of the training: its night, or its settings, were given up
log = logging.getLogger("pipelines.housekeeping")


def tidy(usecase: str, profile: str) -> dict:
    """Forget replies and results beyond the profile's `memo` bounds, join small files, remove what killed work left.

    Returns what `memo.forget` did, `retired`: rows by table whose time was up (`retention.days`), and `orphans`: the number of
    files and folders that nothing named any more.
    """
    opened = open_night(usecase, profile, ANY_NIGHT)
    found = memo.forget(opened.lake, opened.profile.memo) | {"retired": retire(opened)}
    orphans = sum(upkeep.sweep(opened.lake, table, ORPHAN_HOURS) for table in records.TABLES) + _give_up(opened)
    log.info(
        "%s: %.1f MB of replies kept, %.1f MB before; %d rows retired; %d orphans",
        *(usecase, found["megabytes_after"], found["megabytes_before"], sum(found["retired"].values()), orphans),
    )
    return found | {"orphans": orphans}


def _give_up(night: Night) -> int:
    """Remove the checkpoints of trainings that nobody goes on with; returns their number."""
    folders = (Path(night.profile.state) / "checkpoints" / night.usecase.name).glob("*")
    old = [folder for folder in folders if folder.stat().st_mtime < time.time() - 86_400 * CHECKPOINT_DAYS]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)
