"""Rows whose time is up: `retention.days` of the use case, table by table, worked on by the DAG `housekeeping`.

A legal hold keeps the person's rows, and what was made from them, for as long as it stands.
"""

import datetime
from collections.abc import Iterator

from pipelines.foundation import ledger, subjects, upkeep
from pipelines.foundation.step import Night
from pipelines.system import person
from pipelines.system.person import Person

VACUUM_HOURS = 24  # a reader of an older version has so long to end; the rows leave the disk with the next run after that
HISTORY_HOURS = 30 * 24  # versions of tables without a limit stay readable for so long


def retire(night: Night) -> dict[str, int]:
    """Delete rows that are older than their table's days, join small files, vacuum; returns rows deleted by table."""
    kept = list(_held(night))
    gone = {}
    for table in person.REACH:
        days = night.usecase.retention.days.get(table)
        version = night.lake.version(table)
        if version is None or table == "calls":  # replies have their own bounds: `memo` of the profile
            continue
        if days:
            until = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=days)
            where = f"night < '{until}'" + "".join(
                f" AND NOT COALESCE({part}, FALSE)" for one in kept for part in person.reached(night.lake, one, table)
            )
            gone[table] = night.lake.delete(table, where)
        upkeep.compact(night.lake, table, VACUUM_HOURS if days else HISTORY_HOURS)
    return {table: count for table, count in gone.items() if count}


def _held(night: Night) -> Iterator[Person]:
    """What is there of each person under a legal hold."""
    held = subjects.held(ledger.entries(night.lake))
    if not held:
        return
    known = {
        name for batch in night.lake.scan("traffic", night.lake.version("traffic"), ["subject_id"]) for name in batch[0].to_pylist() if name
    }
    for name in sorted(known):
        if subjects.digest(night.lake, name) in held:
            yield person.find(night, name)
