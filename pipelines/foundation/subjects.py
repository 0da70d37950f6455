"""People as the ledger knows them: by a salted hash, so that it can tell who was erased and whose rows are held without saying who.

HMAC-SHA256 under a random salt that is made once for a lake and never leaves it. Entries of the ledger: `erasure`
(with the nights and the models that held the person's rows), `hold` and `release`.
"""

import functools
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from pipelines.foundation.lake import Lake
from pipelines.foundation.ledger import Entry, entries
from pipelines.foundation.numbered import Numbered

SALT_BYTES = 32


def digest(lake: Lake, subject: str) -> str:
    """The person's hash in this lake; the first call makes the salt."""
    return hmac.new(_salt(lake.root), subject.encode(), hashlib.sha256).hexdigest()


@functools.cache
def _salt(root: str) -> bytes:
    place = Numbered(f"{root}/salt")
    if place.get(1) is None:
        place.create(1, secrets.token_hex(SALT_BYTES).encode())
    return place.get(1) or b""


def erased(chain: Iterable[Entry]) -> dict[str, str]:
    """Hash to the day (UTC) of the newest erasure: older rows of the person must not come back."""
    return {entry.body["subject"]: entry.at[:10] for entry in chain if entry.kind == "erasure"}


class Erased:
    """Whose rows must not come back: looked up by ingest for every row."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._days = lake, erased(entries(lake))
        self._hashes: dict[str, str] = {}

    def since(self, subject: str | None, day: str) -> str:
        """The day of the erasure that a row of this day is not newer than; empty where the row may be taken."""
        if not subject or not self._days:
            return ""
        if subject not in self._hashes:
            self._hashes[subject] = digest(self._lake, subject)
        when = self._days.get(self._hashes[subject], "")
        return when if when and day <= when else ""


def held(chain: Iterable[Entry]) -> dict[str, Entry]:
    """Hash to the entry of the legal hold that stands."""
    found: dict[str, Entry] = {}
    for entry in chain:
        if entry.kind == "hold":
            found[entry.body["subject"]] = entry
        elif entry.kind == "release":
            found.pop(entry.body["subject"], None)
    return found


def tainted(chain: Iterable[Entry]) -> dict[str, Entry]:
    """Content key of each model that was trained on rows of a person who was erased since, and the first such entry."""
    found: dict[str, Entry] = {}
    for entry in chain:
        for model in entry.body["models"] if entry.kind == "erasure" else ():
            found.setdefault(model, entry)
    return found


def barred(chain: Iterable[Entry], model: str) -> str:
    """Why a model may not become champion; empty where nothing was erased that it was trained on."""
    entry = tainted(chain).get(model)
    return f"was trained on rows of a person who was erased since (ledger entry {entry.seq}, {entry.at[:10]})" if entry else ""


def retrain_by(chain: Iterable[Entry], model: str) -> str:
    """The day by which a champion that was trained on erased rows must be replaced, empty where none is set."""
    entry = tainted(chain).get(model)
    return entry.body["retrain_by"] if entry else ""
