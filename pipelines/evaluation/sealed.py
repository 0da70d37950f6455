"""The sealed rows of a night, in an order that stays as data grows."""

import hashlib
from collections.abc import Sequence

from pipelines.errors import NightStopped
from pipelines.foundation.step import Night


def sealed(night: Night) -> list[dict]:
    """The test rows up to this night; of more than `max_items` those first by a hash of their id, the same as data grows."""
    return cut(night, every(night))


def every(night: Night) -> list[dict]:
    """All test rows up to this night in the order of that hash; raises NightStopped where there are none."""
    where = f"split = 'test' AND night <= '{night.night}'"
    rows = night.lake.read("examples", night.before("split")["examples"], where=where).to_pylist()
    if not rows:
        place = f"split.test_share in {night.usecase.folder}/usecase.yaml"
        raise NightStopped(f"evaluate: there are no sealed rows up to {night.night}; look at {place}")
    return sorted(rows, key=lambda row: hashlib.sha256(row["example_id"].encode()).digest())


def cut(night: Night, rows: Sequence[dict]) -> list[dict]:
    """The first `max_items` rows."""
    return list(rows)[: night.usecase.evaluation.max_items or None]
