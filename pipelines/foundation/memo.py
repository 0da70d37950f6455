"""Results that were paid for, kept by the hash of everything that they depend on, at two grains.

Sample grain: the table `calls`, a reply of a model a row. Step grain: the table `memo`, a result of a step a row, with
the parts of its key by name, so that `explain` can say which of them changed. Both are Delta tables: any number of
writers, on a folder or on S3.

A row of `calls` lies in the partition of the day on which it was last used: one that is used again after FRESH_DAYS is
written again, into today's. So the least recently used are whole partitions, and forgetting them is one cheap delete.
"""

import datetime
import json
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from pipelines.foundation import upkeep
from pipelines.foundation.lake import Lake
from pipelines.foundation.messages import Reply, Usage
from pipelines.sections import Keeping

FRESH_DAYS = 7
LOOKUP = 4_096  # values of one IN list
MEGABYTE = 1_000_000


class Kept(NamedTuple):
    """A reply that was paid for."""

    key: str
    item: str  # id of the row that it was made from
    reply: Reply
    dollars: Decimal


class Calls:
    """The replies of one model at one endpoint."""

    def __init__(self, lake: Lake, scope: str, model: str) -> None:
        """Reads the keys that are there; another process may add more meanwhile, which at worst are asked again."""
        import pyarrow.compute as pc

        self._lake, self._scope, self._model = lake, scope, model
        found = lake.read("calls", lake.version("calls"), ["key", "day"], f"scope = '{scope}'").group_by("key").aggregate([("day", "max")])
        days = pc.dictionary_encode(found["day_max"].combine_chunks())
        self._days: dict[str, str] = dict(zip(found["key"].to_pylist(), days.to_pylist(), strict=True))

    def find(self, keys: Collection[str]) -> dict[str, Kept]:
        """Those of the keys that were paid for before; what was not used for a while counts as used today."""
        known = [key for key in keys if key in self._days]
        if not known:
            return {}
        rows: dict[str, dict] = {}
        for start in range(0, len(known), LOOKUP):
            part = known[start : start + LOOKUP]
            days = ", ".join(f"'{day}'" for day in {self._days[key] for key in part})
            where = f"scope = '{self._scope}' AND day IN ({days}) AND key IN ({', '.join(map(repr, part))})"
            found = self._lake.read("calls", self._lake.version("calls"), ["key", "item", "reply", "dollars"], where)
            rows |= {row["key"]: row for row in found.to_pylist()}
        kept = {key: Kept(key, row["item"], _reply(row["reply"]), Decimal(row["dollars"])) for key, row in rows.items()}
        stale = (_today() - datetime.timedelta(days=FRESH_DAYS)).isoformat()
        self.keep(entry for key, entry in kept.items() if self._days[key] < stale)
        return kept

    def keep(self, entries: Iterable[Kept]) -> None:
        """Write replies down in one transaction."""
        today = _today().isoformat()
        rows = [
            {
                "day": today,
                "scope": self._scope,
                "key": entry.key,
                "item": entry.item,
                "model": self._model,
                "reply": json.dumps(entry.reply),
                "dollars": str(entry.dollars),
            }
            for entry in entries
        ]
        if rows:
            self._lake.append("calls", rows)
            self._days |= {row["key"]: today for row in rows}


def recall(lake: Lake, step: str, night: str, key: str) -> dict | None:
    """The newest result of a step's run with this key; a partial one is none, for the rest of it is still wanted."""
    rows = lake.read("memo", lake.version("memo"), where=f"night = '{night}' AND step = '{step}' AND key = '{key}'").to_pylist()
    return json.loads(max(rows, key=lambda row: row["at"])["result"]) if rows else None


def store(lake: Lake, result: dict, parts: Mapping[str, str]) -> None:
    """Every use is written, a hit too: the newest row of a step says which result the night stands on."""
    row = {
        "night": result["night"],
        "step": result["step"],
        "key": result["key"],
        "parts": json.dumps(parts),
        "result": json.dumps(result | {"memo": False}),
        "seconds": float(result["seconds"]),
        "at": datetime.datetime.now(datetime.UTC),
    }
    lake.append("memo", [row])


def explain(lake: Lake, step: str, night: str, key: str, parts: Mapping[str, str]) -> dict:
    """Whether a step with this key would run: {"step", "runs", "why", "changed": [{"part", "was", "is"}], "seconds"}.

    `changed` compares with the newest result of that step and night; `seconds` is the work that a hit saves, or that
    the last run took.
    """
    rows = lake.read("memo", lake.version("memo"), where=f"step = '{step}' AND night = '{night}'").to_pylist()
    told = {"step": step, "night": night, "changed": []}
    if not rows:
        return told | {"runs": True, "why": "it never ran for this night", "seconds": None}
    rows.sort(key=lambda row: row["at"])
    if same := [row for row in rows if row["key"] == key]:
        return told | {
            "runs": False,
            "why": f"all {len(parts)} parts of its key are those of a stored result",
            "seconds": same[-1]["seconds"],
        }
    last = rows[-1]
    told |= {"runs": True, "seconds": last["seconds"]}
    if partial := json.loads(last["result"]).get("partial"):
        return told | {"why": f"its last run is partial: {_words(partial)}"}
    before = json.loads(last["parts"]) if last["parts"] else {}
    names = sorted(name for name in {*before, *parts} if before.get(name) != parts.get(name))
    changed = [{"part": name, "was": before.get(name), "is": parts.get(name)} for name in names]
    return told | {"why": "; ".join(map(_change, changed)), "changed": changed}


def measure(lake: Lake) -> dict:
    """What is kept: of replies their entries, megabytes, dollars and days of use; of steps results, hits and seconds saved."""
    import pyarrow.compute as pc

    calls = lake.read("calls", lake.version("calls"), ["key", "day", "model", "dollars"])
    unique = {row["key"]: row for row in calls.to_pylist()}
    steps = lake.read("memo", lake.version("memo"), ["step", "night", "key", "seconds", "at"]).to_pylist()
    steps.sort(key=lambda row: row["at"])
    first = {(row["step"], row["night"], row["key"]): row["at"] for row in reversed(steps)}
    hits = [row for row in steps if row["at"] != first[row["step"], row["night"], row["key"]]]
    span = {"oldest": pc.min(calls["day"]).as_py(), "newest": pc.max(calls["day"]).as_py()}
    models: dict[str, int] = {}
    for row in unique.values():
        models[row["model"]] = models.get(row["model"], 0) + 1
    return {
        "calls": {
            "entries": len(unique),
            "megabytes": round(sum(upkeep.sizes(lake, "calls", "day").values()) / MEGABYTE, 3),
            "dollars": str(sum((Decimal(row["dollars"]) for row in unique.values()), Decimal(0))),
            **span,
            "models": models,
        },
        "steps": {"results": len(first), "hits": len(hits), "seconds_saved": round(sum(row["seconds"] for row in hits), 1)},
    }


def forget(lake: Lake, keeping: Keeping, vacuum_hours: int = 1) -> dict:
    """Bound what is kept: {"days": partitions forgotten, "megabytes_before", "megabytes_after", "uses": rows of `memo` forgotten}.

    Replies that were not used for `max_days`, then the least recently used until the rest fits `max_megabytes`. Of the steps'
    results every night keeps those that it stands on. Files leave the disk after `vacuum_hours`, so that no reader loses
    the version that it reads.
    """
    sizes = upkeep.sizes(lake, "calls", "day")
    oldest = (_today() - datetime.timedelta(days=keeping.max_days)).isoformat()
    left, gone = sum(sizes.values()), []
    for day in sorted(sizes):
        if day < oldest or left > keeping.max_megabytes * MEGABYTE:
            gone.append(day)
            left -= sizes[day]
    if gone:
        lake.delete("calls", f"day IN ({', '.join(map(repr, gone))})")
    uses = _forget_uses(lake, keeping)
    for table in ("calls", "memo"):
        upkeep.compact(lake, table, vacuum_hours)
    after = sum(upkeep.sizes(lake, "calls", "day").values())
    return {
        "days": gone,
        "megabytes_before": round(sum(sizes.values()) / MEGABYTE, 3),
        "megabytes_after": round(after / MEGABYTE, 3),
        "uses": uses,
    }


def _forget_uses(lake: Lake, keeping: Keeping) -> int:
    """Rows of `memo` that are older than `max_days` and on which no night stands: others of their step and night are newer."""
    rows = lake.read("memo", lake.version("memo"), ["night", "step", "at"]).to_pylist()
    newest: dict[tuple[str, str], datetime.datetime] = {}
    for row in rows:
        place = row["night"], row["step"]
        newest[place] = max(newest.get(place, row["at"]), row["at"])
    limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=keeping.max_days)
    old: dict[str, set[str]] = {}
    count = 0
    for row in rows:
        if row["at"] < min(limit, newest[row["night"], row["step"]]):
            old.setdefault(row["night"], set()).add(row["step"])
            count += 1
    for night, steps in old.items():
        ends = {step: min(limit, newest[night, step]).strftime("%Y-%m-%dT%H:%M:%S.%f") for step in sorted(steps)}
        either = " OR ".join(f"(step = '{step}' AND at < CAST('{end}' AS TIMESTAMP))" for step, end in ends.items())
        lake.delete("memo", f"night = '{night}' AND ({either})")
    return count


def _reply(text: str) -> Reply:
    said, error, usage, logprobs, unsure = json.loads(text)
    return Reply(said, error, usage and Usage(*usage), tuple(logprobs) if logprobs is not None else None, unsure)


def _change(change: dict) -> str:
    if change["was"] is None:
        return f"{change['part']} is new"
    if change["is"] is None:
        return f"{change['part']} is gone"
    return f"{change['part']} was {change['was']}, is {change['is']}"


def _words(partial: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in partial.items())


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
