"""Hold the night's traffic to the contract: a row that breaks a rule goes to quarantine, a table that breaks one stops the night.

The rules are Great Expectations 1.x (`contract.rows`, `contract.table` in usecase.yaml: type, kwargs, meta.reason), and
min_rows, max_quarantine_share and max_age_days beside them. `table` rules look at the rows that passed `rows`. The page
`reports/USECASE/NIGHT/validation.html` in the state folder shows every result, also of a night that was stopped.
`python -m pipelines validate --usecase support --night 2026-11-20`.
"""

import datetime
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.docs import Outcome, render
from pipelines.data.expectations import Result, build, check
from pipelines.data.mapping import OURS, closed_labels
from pipelines.data.rows import RAW
from pipelines.data.sources import disk
from pipelines.errors import NightStopped
from pipelines.foundation.step import Night, step

if TYPE_CHECKING:
    import pandas as pd


@step(code=1, after="ingest", sections=("contract", "task"))
def validate(night: Night) -> dict:
    """Check the rows that ingest accepted this night; returns counts, the quarantine's version and the page's path.

    Raises UserError for an expectation that does not exist or cannot be checked, NightStopped where the night must not go on.
    """
    before = night.before("ingest")
    where = f"{night.usecase.folder}/usecase.yaml"
    rules = build(night.usecase.contract.rows, f"{where}: contract.rows", of_rows=True)
    table_rules = build(night.usecase.contract.table, f"{where}: contract.table", of_rows=False)
    frame = night.lake.read("traffic", before["traffic"], where=f"night = '{night.night}'").to_pandas()
    row_results = check(frame, rules)
    failing = _failing(row_results)
    kept = frame[~frame.index.isin(failing)]
    results = [*_limits(night, kept, before, len(failing)), *check(kept, table_rules)]
    bad = [_quarantined(night, frame.iloc[at], failed) for at, failed in sorted(failing.items())]
    version = night.lake.replace("quarantine", bad, night=night.night, step="validate")
    page = _publish(night, before, row_results, results, Outcome(before["read"], len(kept), before["quarantined"], len(bad)))
    if stopped := [result for result in results if not result.passed]:
        lines = "\n".join(f"- {result.name}: expected {result.expected}; observed {result.observed}" for result in stopped)
        raise NightStopped(
            f"{night.usecase.name}, night {night.night}: the data broke {len(stopped)} rule(s) of the contract in {where}:\n{lines}\n"
            f"See {page}; mend the source or the contract, then run the night again"
        )
    reasons = dict(Counter(row["reason"] for row in bad))
    return {"accepted": len(kept), "quarantined": len(bad), "reasons": reasons, "quarantine": version, "docs": page}


def _failing(results: list[Result]) -> dict[int, list[Result]]:
    """Failed rules by row, in the contract's order."""
    failing: dict[int, list[Result]] = {}
    for result in results:
        for at in result.rows:
            failing.setdefault(at, []).append(result)
    return failing


def _quarantined(night: Night, row: "pd.Series", failed: list[Result]) -> dict:
    """A row of the table `quarantine`; its reason is that of the first rule that it breaks."""
    shown = {name: row[name] for name in OURS if row[name] == row[name]}  # pandas' nulls are unequal to themselves
    return {
        "file": row["file"],
        "source": row["source"],
        "line": int(row["line"]),
        "night": night.night,
        "step": "validate",
        "reason": failed[0].reason,
        "detail": "; ".join(f"{result.name}: expected {result.expected}" for result in failed),
        "raw": json.dumps(shown, default=str, ensure_ascii=False)[:RAW],
    }


def _limits(night: Night, kept: "pd.DataFrame", before: dict, refused: int) -> list[Result]:
    """The contract's own limits, and that no label is outside the closed set."""
    contract = night.usecase.contract
    share = (before["quarantined"] + refused) / before["read"] if before["read"] else 0.0
    missing = max(contract.min_rows - len(kept), 0)
    excess = max(share - contract.max_quarantine_share, 0)
    results = [
        Result(
            "min_rows",
            f"at least {contract.min_rows:,} rows",
            f"{len(kept):,} rows" + (f", {missing:,} too few" if missing else ""),
            not missing,
        ),
        Result(
            "max_quarantine_share",
            f"at most {contract.max_quarantine_share:.1%} of the rows refused",
            f"{share:.1%} ({before['quarantined'] + refused:,} of {before['read']:,})"
            + (f", {excess:.1%} of the rows too many" if excess else ""),
            not excess,
        ),
    ]
    if contract.max_age_days and len(kept):
        newest = max(kept["day"])
        age = (datetime.date.fromisoformat(night.night) - datetime.date.fromisoformat(newest)).days
        late = max(age - contract.max_age_days, 0)
        observed = f"the newest row is of {newest}, {age} day(s) old" + (f", {late} too old" if late else "")
        results.append(Result("max_age_days", f"a row at most {contract.max_age_days} day(s) old", observed, not late))
    if labels := closed_labels(night.usecase):
        unknown = Counter(label for label in kept["label"] if label not in labels)
        found = ", ".join(f"{str(label)!r} {count:,} time(s)" for label, count in unknown.most_common(10)) or "none"
        results.append(Result("labels", f"no label outside the {len(labels)} of contract.labels", found, not unknown))
    return results


def _publish(night: Night, before: dict, rows: list[Result], table: list[Result], outcome: Outcome) -> str:
    """Write the page; returns its path."""
    refused = night.lake.read(
        "quarantine", night.lake.version("quarantine"), ["step", "source", "reason"], f"night = '{night.night}'"
    ).to_pylist()
    path = Path(night.profile.state, "reports", night.usecase.name, night.night, "validation.html")
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(night.usecase.name, night.night, outcome, rows, table, refused), encoding="utf-8")
    return str(path)
