"""Hold the night's traffic to the contract: a row that breaks a rule goes to quarantine, a table that breaks one stops the night.

The rules are Great Expectations 1.x (`rows`, `table` in the use case's contract.yaml: type, kwargs, meta.reason), and the
contract's own limits beside them. `table` rules look at the rows that passed `rows`. The page
`reports/USECASE/NIGHT/validation.html` in the state folder shows every result, also of a night that was stopped; beside it
lie Great Expectations' own page and the contract as it was used. Memory does not grow with the rows.
`python -m pipelines validate --usecase support --night 2026-11-20`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data.contract import data_docs, docs
from pipelines.data.contract.checking import Found, Result, check
from pipelines.data.contract.expectations import build
from pipelines.data.contract.history import Validated, changes, validated
from pipelines.data.contract.limits import Counts, check_limits
from pipelines.data.contract.spool import Spool, spooled
from pipelines.data.contract.texts import checks
from pipelines.data.reading.disk import disk
from pipelines.data.reading.mapping import OURS
from pipelines.data.reading.rows import RAW
from pipelines.errors import NightStopped
from pipelines.foundation.records import schema
from pipelines.foundation.step import Night, fingerprint, step
from pipelines.sections import Contract
from pipelines.settings import CONTRACT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NEEDED = {*OURS, "file", "source", "line", "day"}  # for the quarantine and the limits


class Judged(NamedTuple):
    """What the contract says of the night."""

    rows: list[Found]
    table: list[Found]
    limits: list[Result]
    reasons: dict[str, int]
    quarantine: int  # version
    counts: Counts


@step(code=2, after="ingest", sections=("contract", "task"))
def validate(night: Night) -> dict:
    """Check the rows that ingest accepted this night; returns counts, the quarantine's version, the pages and the contract's hash.

    Raises UserError for an expectation that does not exist or cannot be checked, NightStopped where the night must not go on.
    """
    contract, before = night.usecase.contract, validated(night.lake, night.night)
    judged = _judge(night, before)
    bare = night._replace(usecase=night.usecase.model_copy(update={"contract": Contract()}))
    mark = fingerprint(contract.model_dump(mode="json"))
    changed = changes(before, validate.parts(night, ""), validate.parts(bare, ""))
    pages = _publish(night, judged, mark, changed if before else None)
    if stopped := [result for result in _of_table(judged) if not result.passed]:
        lines = "\n".join(f"- {result.name}: expected {result.expected}; observed {result.observed}" for result in stopped)
        raise NightStopped(
            f"{night.usecase.name}, night {night.night}: the data broke {len(stopped)} rule(s) of the contract in "
            f"{night.usecase.folder}/{CONTRACT}:\n{lines}\n"
            f"See {pages['docs']}; mend the source or the contract, then run the night again"
        )
    counts = {"accepted": judged.counts.accepted, "quarantined": judged.counts.refused, "reasons": judged.reasons}
    return counts | {"quarantine": judged.quarantine, "contract": mark, "contract_changed": changed} | pages


def _judge(night: Night, before: list[Validated]) -> Judged:
    """Read the night's rows, check them, and write those that are refused to `quarantine`."""
    contract, ingested, where = night.usecase.contract, night.before("ingest"), f"{night.usecase.folder}/{CONTRACT}"
    rules, table_rules = build(contract.rows, f"{where}: rows", of_rows=True), build(contract.table, f"{where}: table", of_rows=False)
    own = checks(contract, night.profile.state, where)
    wanted = NEEDED.union(*(rule.columns() for rule in (*rules, *table_rules)))
    columns = [name for name in schema("traffic").names if name in wanted]
    with spooled(night.lake.scan("traffic", ingested["traffic"], columns, f"night = '{night.night}'"), columns) as spool:
        found = check(spool, rules, own)
        kept = _kept(spool, found)
        version = night.lake.replace("quarantine", lambda: _refused(night, spool, found, kept), night=night.night, step="validate")
        refused = int(spool.rows - kept.sum())
        counts = Counts(ingested["read"], ingested.get("duplicates", 0), ingested["quarantined"], refused, spool.rows - refused)
        limits = check_limits(night, spool, kept, counts, before)
        table = check(spool, table_rules, chosen=kept)
    return Judged(found, table, limits, _reasons(found, spool.rows), version, counts)


def _kept(spool: Spool, found: list[Found]) -> "np.ndarray":
    """bool [rows]: the row breaks no rule."""
    import numpy as np

    kept = np.ones(spool.rows, bool)
    for one in found:
        kept[one.rows] = False
    return kept


def _reasons(found: list[Found], rows: int) -> dict[str, int]:
    """Rows refused by reason; a row counts for the first rule that it breaks, in the contract's order."""
    import numpy as np

    reasons: Counter[str] = Counter()
    seen = np.zeros(rows, bool)
    for one in found:
        if count := int((~seen[one.rows]).sum()):
            reasons[one.result.reason] += count
        seen[one.rows] = True
    return dict(reasons)


def _refused(night: Night, spool: Spool, found: list[Found], kept: "np.ndarray") -> "Iterator[pa.RecordBatch]":
    """The rows of `quarantine`, a batch at a time; the reason of each is that of the first rule that it breaks."""
    import numpy as np
    import pyarrow as pa

    for at, batch in spool.batches(NEEDED):
        bad = np.flatnonzero(~kept[at : at + batch.num_rows])
        failed: dict[int, list[Result]] = {int(place): [] for place in bad}
        for one in found if len(bad) else ():
            low, high = np.searchsorted(one.rows, (at, at + batch.num_rows))
            for place in one.rows[low:high] - at:
                failed[int(place)].append(one.result)
        rows = batch.take(pa.array(bad)).to_pylist()
        yield pa.RecordBatch.from_pylist(
            [_quarantined(night, row, failed[int(place)]) for place, row in zip(bad, rows, strict=True)], schema=schema("quarantine")
        )


def _quarantined(night: Night, row: dict, failed: list[Result]) -> dict:
    shown = {name: row[name] for name in OURS if row[name] is not None}
    return {
        "file": row["file"],
        "source": row["source"],
        "line": row["line"],
        "night": night.night,
        "step": "validate",
        "reason": failed[0].reason,
        "detail": "; ".join(f"{result.name}: expected {result.expected}" for result in failed),
        "raw": json.dumps(shown, default=str, ensure_ascii=False)[:RAW],
    }


def _of_table(judged: Judged) -> list[Result]:
    return [*judged.limits, *(one.result for one in judged.table)]


def _publish(night: Night, judged: Judged, mark: str, changed: list[str] | None) -> dict[str, str]:
    """Write the pages and the contract; returns their paths by the names that the result gives them."""
    import yaml

    held = yaml.safe_dump(night.usecase.contract.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    counts, folder = judged.counts, Path(night.profile.state, "reports", night.usecase.name, night.night)
    files = {"docs": "validation.html", "contract_file": CONTRACT}
    written = {CONTRACT: f"# {mark}\n{held}"}
    if expectations := [*judged.rows, *judged.table]:
        files["gx_docs"] = "data_docs.html"
        written["data_docs.html"] = data_docs.render(night.usecase.name, night.night, expectations)
    titles = {"Great Expectations' page": "data_docs.html", "The contract as a file": CONTRACT}
    contract = docs.Held(mark, held, changed, {title: name for title, name in titles.items() if name in written})
    outcome = docs.Outcome(counts.read, counts.accepted, counts.quarantined, counts.refused)
    rows = [one.result for one in judged.rows]
    written["validation.html"] = docs.render(
        night.usecase.name, night.night, outcome, contract, rows, _of_table(judged), _counted(night, judged.quarantine)
    )
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
    return {key: str(folder / name) for key, name in files.items()}


def _counted(night: Night, version: int) -> list[tuple]:
    """(step, reason, source, rows) of the night's quarantine."""
    counts: Counter[tuple] = Counter()
    for batch in night.lake.scan("quarantine", version, ["step", "reason", "source"], f"night = '{night.night}'"):
        counts.update(zip(*batch.to_pydict().values(), strict=True))
    return [(*key, count) for key, count in counts.items()]
