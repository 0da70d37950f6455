"""The contract's own limits on the night as a whole, each a result beside those of the table rules."""

import datetime
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data.contract.checking import Result
from pipelines.data.contract.history import Validated, volume
from pipelines.data.contract.spool import Spool
from pipelines.data.reading.mapping import closed_labels
from pipelines.foundation.step import Night

if TYPE_CHECKING:
    import numpy as np


class Counts(NamedTuple):
    """Rows of the night."""

    read: int
    repeated: int  # refused by ingest as duplicates, which says nothing of the data's quality
    quarantined: int  # by ingest, the repeated ones too
    refused: int  # by validate
    accepted: int


def check_limits(night: Night, spool: Spool, kept: "np.ndarray", counts: Counts, before: list[Validated]) -> list[Result]:
    """Rows, share refused, freshness, volume, and that no label is outside the closed set."""
    contract = night.usecase.contract
    results = [_rows(contract.min_rows, counts.accepted), _share(contract.max_quarantine_share, counts)]
    if contract.volume:
        results.append(volume(contract.volume, before, counts.accepted))
    newest, labels = _summary(spool, kept)
    if contract.max_age_days and newest:
        results.append(_age(contract.max_age_days, night.night, newest))
    if closed := closed_labels(night.usecase):
        unknown = Counter({label: count for label, count in labels.items() if label not in closed})
        found = ", ".join(f"{str(label)!r} {count:,} time(s)" for label, count in unknown.most_common(10)) or "none"
        results.append(Result("labels", f"no label outside the {len(closed)} of labels", found, not unknown))
    return results


def _rows(least: int, rows: int) -> Result:
    missing = max(least - rows, 0)
    return Result("min_rows", f"at least {least:,} rows", f"{rows:,} rows" + (f", {missing:,} too few" if missing else ""), not missing)


def _share(most: float, counts: Counts) -> Result:
    judged = counts.read - counts.repeated
    refused = counts.quarantined - counts.repeated + counts.refused
    share = refused / judged if judged else 0.0
    excess = max(share - most, 0)
    observed = f"{share:.1%} ({refused:,} of {judged:,})" + (f", {counts.repeated:,} duplicates aside" if counts.repeated else "")
    observed += f", {excess:.1%} of the rows too many" if excess else ""
    return Result("max_quarantine_share", f"at most {most:.1%} of the rows refused", observed, not excess)


def _age(most: int, night: str, newest: str) -> Result:
    age = (datetime.date.fromisoformat(night) - datetime.date.fromisoformat(newest)).days
    late = max(age - most, 0)
    observed = f"the newest row is of {newest}, {age} day(s) old" + (f", {late} too old" if late else "")
    return Result("max_age_days", f"a row at most {most} day(s) old", observed, not late)


def _summary(spool: Spool, kept: "np.ndarray") -> tuple[str, Counter]:
    """The newest day, empty where no row was kept, and how often each label comes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    newest, labels = "", Counter()
    for at, batch in spool.batches(["day", "label"]):
        part = batch.filter(pa.array(kept[at : at + batch.num_rows]))
        newest = max(newest, pc.max(part.column("day")).as_py() or "")
        labels.update({entry["values"]: entry["counts"] for entry in pc.value_counts(part.column("label")).to_pylist()})
    return newest, labels
