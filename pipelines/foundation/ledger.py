"""Append-only decisions, each entry carrying the hash of the one before, so that a changed or removed entry shows.

The hash is SHA-256 over the canonical JSON of (seq, at, night, kind, body, previous). `verify` walks the chain.
"""

import datetime
import hashlib
import json
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation.lake import Lake

GENESIS = "0" * 64


class Entry(NamedTuple):
    """One decision."""

    seq: int
    at: str
    night: str
    kind: str
    body: dict
    previous: str
    hash: str


def entries(lake: Lake) -> list[Entry]:
    """All entries, oldest first."""
    rows = lake.read("ledger", lake.version("ledger")).to_pylist()
    return sorted(Entry(**{**row, "body": json.loads(row["body"])}) for row in rows)


def append(lake: Lake, night: str, kind: str, body: dict) -> Entry:
    """Add a decision unless the newest entry of this kind for this night says the same already; returns the entry."""
    chain = entries(lake)
    for entry in reversed(chain):
        if entry.night == night and entry.kind == kind:
            if entry.body == json.loads(json.dumps(body)):
                return entry
            break
    previous = chain[-1].hash if chain else GENESIS
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    draft = Entry(len(chain) + 1, at, night, kind, body, previous, "")
    entry = draft._replace(hash=_digest(draft))
    lake.append("ledger", [entry._asdict() | {"body": json.dumps(body, sort_keys=True)}])
    return entry


def verify(lake: Lake) -> int:
    """The number of entries whose chain holds; raises UserError naming the first that does not."""
    previous = GENESIS
    for count, entry in enumerate(entries(lake), start=1):
        if entry.seq != count or entry.previous != previous or entry.hash != _digest(entry):
            raise UserError(f"the ledger in {lake.root}/ledger was changed: entry {count} ({entry.kind}, {entry.night}) breaks the chain")
        previous = entry.hash
    return len(entries(lake))


def _digest(entry: Entry) -> str:
    body = json.dumps([entry.seq, entry.at, entry.night, entry.kind, entry.body, entry.previous], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()
