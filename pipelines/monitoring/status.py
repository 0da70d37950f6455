"""Where a night stands: `python -m pipelines status --usecase support [--night 2026-11-20] [--json]`."""

from decimal import Decimal

from pipelines.errors import UserError
from pipelines.foundation import ledger, moves, subjects
from pipelines.foundation.step import ORDER, Night, open_night, results, row_counts

SIDES = ("champion", "candidate", "difference", "low", "high")


def read_status(usecase: str, profile: str, night: str = "") -> dict:
    """The documented figures of one night, the newest where none is named; raises UserError where there is none."""
    opened = open_night(usecase, profile, night or "9999-12-31")
    if not night:
        nights = opened.lake.read("memo", opened.lake.version("memo"), columns=["night"])["night"].to_pylist()
        if not nights:
            raise UserError(f"no night of {usecase} has run yet: `make nightly USECASE={usecase}` runs one")
        opened = opened._replace(night=max(nights))
    done = results(opened.lake, opened.night)
    gate, evaluated = done.get("gate", {}), done.get("evaluate", {})
    metrics = gate.get("metrics") or {name: dict.fromkeys(SIDES) | found for name, found in evaluated.get("metrics", {}).items()}
    return {
        "night": opened.night,
        "rows": _rows(done),
        "metrics": {name: {side: found.get(side) for side in SIDES} for name, found in metrics.items()},
        "verdict": gate.get("verdict"),
        "champion_version": done.get("promote", {}).get("champion_version"),
        "seconds": {name: done[name]["seconds"] for name in ORDER if name in done},
        "model_calls": sum(found.get("model_calls", 0) for found in done.values()),
        "spent": f"{sum((Decimal(found.get('spent', 0)) for found in done.values()), Decimal(0)).normalize():f}",
        "replace_champion_by": _replace_by(opened),
        "partial": {name: found["partial"] for name, found in done.items() if found.get("partial")},
    }


def _rows(done: dict[str, dict]) -> dict[str, int]:
    """Counts of this night."""
    split = done.get("split", {})
    used = {"train": split.get("train", 0), "test": split.get("test", 0), "synthetic": done.get("synthesize", {}).get("rows", 0)}
    return row_counts(done) | used


def _replace_by(night: Night) -> str | None:
    """The day by which the champion has to be replaced, because it was trained on rows that were erased since."""
    chain = ledger.entries(night.lake)
    stands = moves.champion_version(chain)
    keys = {entry.body["version"]: entry.body["model"] for entry in chain if entry.kind in ("promotion", "rollback")}
    return subjects.retrain_by(chain, keys.get(stands) or "") or None


def render(usecase: str, status: dict) -> str:
    """The same as a table that a person reads."""
    rows = status["rows"]
    champion = f"version {status['champion_version']}" if status["champion_version"] else "the base model"
    lines = [
        f"{usecase}, night {status['night']}: {status['verdict'] or 'no verdict yet'}; champion: {champion}",
        "",
        f"  rows     {rows['read']} read = {rows['accepted']} accepted + {rows['quarantined']} quarantined; "
        f"{rows['train']} train, {rows['test']} sealed test, {rows['synthetic']} synthetic",
    ]
    if status["metrics"]:
        lines += ["", f"  {'metric':<12}{'champion':>10}{'candidate':>11}{'difference':>12}   interval"]
        lines += [_metric(name, found) for name, found in status["metrics"].items()]
    if by := status["replace_champion_by"]:
        lines += ["", f"  the champion was trained on rows that were erased since: it must be replaced by {by}"]
    total = sum(status["seconds"].values())
    slowest = sorted(status["seconds"].items(), key=lambda item: -item[1])[:4]
    spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in slowest)
    lines += ["", f"  work     {total:.0f} s ({spent}), {status['model_calls']} model calls, ${status['spent']}"]
    for name, words in status["partial"].items():
        lacking = ", ".join(f"{word} {count}" for word, count in words.items())
        lines.append(f"  partial  {name}: {lacking}; run the night again for the rest")
    return "\n".join(lines)


def _metric(name: str, found: dict) -> str:
    champion, candidate, difference, low, high = ("-" if found[side] is None else f"{found[side]:.3f}" for side in SIDES)
    sign = "+" if found["difference"] is not None and found["difference"] > 0 else ""
    return f"  {name:<12}{champion:>10}{candidate:>11}{sign + difference:>12}   {low} to {high}"
