"""What every step shares: settings, the lake, the memo, and the clock.

`@step(...)` turns `def validate(night: Night) -> dict` into `validate(usecase, profile, night) -> dict`: strings in, a
small dict out. The key of a step is a hash of its name, its declared code version, its sections of the settings, the
prompts that they name, and the keys of the steps before it; where the memo holds that key, the stored result is
returned and nothing is done again.
"""

import datetime
import hashlib
import json
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import records
from pipelines.foundation.lake import Lake
from pipelines.sections import Profile, UseCase
from pipelines.settings import load, parse_night

ORDER = (
    *("ingest", "validate", "scrub", "split", "synthesize", "finetune", "admit", "evaluate", "safety"),
    *("gate", "promote", "publish_card", "drift"),
)
HIDDEN = ("step", "night", "key", "memo", "after", "inputs", "seconds")  # of a result, in the log
log = logging.getLogger("pipelines")
Step = Callable[[str, str, str], dict]


class Night(NamedTuple):
    """One night of one use case, as a step sees it."""

    usecase: UseCase
    profile: Profile
    night: str  # YYYY-MM-DD
    lake: Lake
    key: str = ""  # of the step that runs

    def before(self, step: str) -> dict:
        """The result of an earlier step of this night; raises UserError where it has not run."""
        found = results(self.lake, self.night).get(step)
        if found is None:
            raise UserError(
                f"{step} has not run for the night {self.night} of {self.usecase.name}: "
                f"run `python -m pipelines {step} --usecase {self.usecase.name} --night {self.night}` first"
            )
        return found


def results(lake: Lake, night: str) -> dict[str, dict]:
    """The newest result of each step of a night, by the step's name.

    A result whose step before has since given another one is left out: a verdict on yesterday's candidate promotes nobody.
    """
    rows = lake.read("memo", lake.version("memo"), where=f"night = '{night}'").to_pylist()
    newest = {row["step"]: json.loads(row["result"]) for row in sorted(rows, key=lambda row: row["at"])}
    sound: dict[str, dict] = {}
    for name in sorted(newest, key=ORDER.index):
        found = newest[name]
        after = found.get("after")
        if not after or sound.get(after, {}).get("key") == found["inputs"]:
            sound[name] = found
    return sound


def versions(done: dict[str, dict]) -> dict[str, int]:
    """Lineage: each table that the night's steps wrote, with the version that the last of them left."""
    # not isinstance: the flag `memo` of each result is a bool, and bears the name of a table
    return {table: done[name][table] for name in ORDER for table in records.TABLES if type(done.get(name, {}).get(table)) is int}


def row_counts(done: dict[str, dict]) -> dict[str, int]:
    """Rows of the night: every row read is accepted or quarantined."""
    read = done.get("ingest", {}).get("read", 0)
    quarantined = sum(done.get(name, {}).get("quarantined", 0) for name in ("ingest", "validate", "split"))
    return {"read": read, "accepted": read - quarantined, "quarantined": quarantined}


def open_night(usecase: str, profile: str, night: str) -> Night:
    """Load the settings and open the lake."""
    settings = load(usecase, profile)
    return Night(settings.usecase, settings.profile, parse_night(night), Lake(f"{settings.profile.lake}/{usecase}"))


def fingerprint(*parts: object) -> str:
    """SHA-256 (first 16 hex digits) of the parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def step(
    code: int, after: str = "", sections: tuple[str, ...] = (), extra: Callable[[Night], object] | None = None
) -> Callable[[Callable[[Night], dict]], Step]:
    """Declare a step: its code version, the step before it, its sections of the use case, and what else its result depends on.

    `extra(night)` returns whatever else goes into the key (the files that lie there, the champion's version).
    """

    def declare(work: Callable[[Night], dict]) -> Step:
        name = work.__name__

        def run(usecase: str, profile: str, night: str) -> dict:
            opened = open_night(usecase, profile, night)
            started = time.perf_counter()
            inputs = opened.before(after)["key"] if after else ""
            own = opened.usecase.model_dump(include=set(sections))
            key = fingerprint(name, code, opened.night, inputs, own, extra(opened) if extra else "")
            if (found := _recall(opened.lake, name, key)) is not None:
                result = found | {"memo": True}
                log.info("%s: nothing to do, the same inputs gave %s", name, _brief(found))
            else:
                log.info("%s: started", name)
                about = {"step": name, "night": opened.night, "key": key, "memo": False, "after": after, "inputs": inputs}
                result = about | work(opened._replace(key=key))
                result["seconds"] = round(time.perf_counter() - started, 2)
                log.info("%s: %s in %.1f s", name, _brief(result), result["seconds"])
            _store(opened.lake, result)
            return result

        run.__name__, run.__qualname__, run.__doc__, run.__module__ = name, name, work.__doc__, work.__module__
        return run

    return declare


def _brief(result: dict) -> str:
    """The figures of a result on one line."""
    shown = {k: v for k, v in result.items() if k not in HIDDEN and isinstance(v, (int, float, str, bool))}
    return ", ".join(f"{key} {value}" for key, value in shown.items()) or "done"


def _recall(lake: Lake, name: str, key: str) -> dict | None:
    rows = lake.read("memo", lake.version("memo"), where=f"step = '{name}' AND key = '{key}'").to_pylist()
    return json.loads(max(rows, key=lambda row: row["at"])["result"]) if rows else None


def _store(lake: Lake, result: dict) -> None:
    """Every use is written, a hit too: the newest row of a step says which result the night stands on."""
    row = {
        "night": result["night"],
        "step": result["step"],
        "key": result["key"],
        "result": json.dumps(result | {"memo": False}),
        "seconds": float(result["seconds"]),
        "at": datetime.datetime.now(datetime.UTC),
    }
    lake.append("memo", [row])
