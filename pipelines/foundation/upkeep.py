"""What keeps tables small and forgets: history taken off the disk, small files joined, what killed writes left removed."""

import re
import time
from pathlib import Path

from pipelines.foundation.lake import Lake, commit

DRAFT = re.compile(r"#\d+$|^_commit_.*\.tmp$")  # what delta-rs and its object store write before they rename it
RETENTION = {"delta.logRetentionDuration": "interval 30 days", "delta.deletedFileRetentionDuration": "interval 7 days"}


def purge(lake: Lake, table: str) -> int | None:
    """Take every version but the newest off the disk, log and files, so that what was deleted is nowhere; returns the version.

    Not beside a writer or reader of the same table. A reader that names an older version is given the newest (`Lake.scan`).
    """
    from deltalake import DeltaTable

    uri = lake.uri(table)
    if not DeltaTable.is_deltatable(uri):
        return None
    none = dict.fromkeys(RETENTION, "interval 0 seconds")
    commit(lambda: DeltaTable(uri).alter.set_table_properties(none) or 0, uri)
    # In full where a lock keeps writers away (`step`): on S3 what a writer has not committed yet must stay.
    DeltaTable(uri).vacuum(0, dry_run=False, enforce_retention_duration=False, full="://" not in uri)
    time.sleep(0.01)  # an entry of the log that is as old as this millisecond would be kept
    stored = DeltaTable(uri)
    stored.create_checkpoint()
    stored.cleanup_metadata()
    return commit(lambda: DeltaTable(uri).alter.set_table_properties(RETENTION) or DeltaTable(uri).version(), uri)


def compact(lake: Lake, table: str, hours: int) -> None:
    """Join small files, and take files off the disk that no version younger than `hours` needs."""
    from deltalake import DeltaTable

    uri = lake.uri(table)
    if DeltaTable.is_deltatable(uri):
        commit(lambda: DeltaTable(uri).optimize.compact()["numFilesAdded"], uri)
        DeltaTable(uri).vacuum(hours, dry_run=False, enforce_retention_duration=False)


def sweep(lake: Lake, table: str, hours: int) -> int:
    """Remove files that no version names and that are older than `hours`: a write was killed before its commit.

    Returns their number. Every version that can be read stays readable.
    """
    from deltalake import DeltaTable

    uri = lake.uri(table)
    if not DeltaTable.is_deltatable(uri):
        return 0
    stored = DeltaTable(uri)
    options = {"enforce_retention_duration": False, "full": True, "keep_versions": [entry["version"] for entry in stored.history()]}
    found = stored.vacuum(hours, dry_run=True, **options)
    if found:
        stored.vacuum(hours, dry_run=False, **options)
    drafts = [] if "://" in uri else [path for path in Path(uri).rglob("*") if DRAFT.search(path.name)]
    old = [path for path in drafts if path.stat().st_mtime < time.time() - 3600 * hours]
    for path in old:
        path.unlink(missing_ok=True)
    return len(found) + len(old)


def sizes(lake: Lake, table: str, partition: str) -> dict[str, int]:
    """Bytes of the newest version by the value of its partition column."""
    import pyarrow as pa
    from deltalake import DeltaTable

    uri, found = lake.uri(table), {}
    if DeltaTable.is_deltatable(uri):
        for row in pa.table(DeltaTable(uri).get_add_actions(flatten=True)).to_pylist():
            found[row[f"partition.{partition}"]] = found.get(row[f"partition.{partition}"], 0) + row["size_bytes"]
    return found
