"""Append-only decisions, each entry carrying the hash of the one before, so that a changed or removed entry shows.

One small JSON file an entry (`ledger/00000001.json`), in exactly one way of writing it, so that no byte can change unseen;
in a Parquet file many bytes mean nothing, and a changed one may abort the reader. Two writers at once end in one chain:
the number of an entry can be taken once (`numbered`), and the loser writes again onto the longer chain. The hash is SHA-256
over the canonical JSON of (seq, at, night, kind, body, previous). Whoever reads the ledger has verified it.
"""

import datetime
import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation.lake import Lake
from pipelines.foundation.numbered import Numbered

GENESIS = "0" * 64


class Entry(NamedTuple):
    """One decision."""

    seq: int  # from 1
    at: str  # ISO 8601, UTC
    night: str
    # look | verdict | admission | suspension | approval | staging | promotion | rollback | served | erasure | erased | hold | release
    kind: str
    body: dict
    previous: str  # hash of the entry before
    hash: str


def entries(lake: Lake) -> list[Entry]:
    """All entries, oldest first; raises UserError naming the first that was changed, or that is missing before another."""
    place, chain = f"{lake.root}/ledger", []
    for count, (name, content) in enumerate(Numbered(place).read().items(), start=1):
        entry = _parse(content)
        previous = chain[-1].hash if chain else GENESIS
        if name != f"{count:08d}.json" or entry is None or (entry.seq, entry.previous, entry.hash) != (count, previous, _digest(entry)):
            raise UserError(
                f"the ledger was changed: {place}/{name} does not continue the chain as entry {count}; nothing is decided on it"
            )
        chain.append(entry)
    return chain


def append(lake: Lake, night: str, kind: str, body: dict, check: Callable[[list[Entry]], None] | None = None) -> Entry:
    """Add a decision unless the newest entry of this kind for this night says the same already; returns the entry.

    Where `check` is given it decides instead: it sees the chain that the entry would be added to, again after every
    lost race, and raises to refuse.
    """
    body = json.loads(json.dumps(body))
    while True:
        chain = entries(lake)
        if check is not None:
            check(chain)
        else:
            same = next((entry for entry in reversed(chain) if (entry.night, entry.kind) == (night, kind)), None)
            if same is not None and same.body == body:
                return same
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        draft = Entry(len(chain) + 1, at, night, kind, body, chain[-1].hash if chain else GENESIS, "")
        entry = draft._replace(hash=_digest(draft))
        if Numbered(f"{lake.root}/ledger").create(entry.seq, _write(entry)):
            return entry


def _write(entry: Entry) -> bytes:
    return json.dumps(entry._asdict(), sort_keys=True, ensure_ascii=False, indent=1).encode() + b"\n"


def _parse(content: bytes) -> Entry | None:
    """The entry, where it is written in the one way that an entry is written."""
    try:
        entry = Entry(**json.loads(content))
        return entry if isinstance(entry.body, dict) and _write(entry) == content else None
    except (ValueError, TypeError, RecursionError):
        return None


def _digest(entry: Entry) -> str:
    body = json.dumps([entry.seq, entry.at, entry.night, entry.kind, entry.body, entry.previous], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()
