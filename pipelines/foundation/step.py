"""What every step shares: settings, the lake, the memo, and the clock.

`@step(...)` turns `def validate(night: Night) -> dict` into `validate(usecase, profile, night) -> dict`: strings in, a
small dict out. The key of a step is a hash of its parts: its declared code version, its sections of the settings, what
else it depends on (prompts, files, the champion), and the key of the step before it; where the memo holds that key, the
stored result is returned and nothing is done again. A result is partial where calls to a model were not answered, say at
a cap: what is there counts for the night, and the next run of the step asks for the rest.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pipelines.errors import UserError, Waiting
from pipelines.foundation import memo, records
from pipelines.foundation.lake import Lake
from pipelines.foundation.tab import Tab
from pipelines.sections import Profile, UseCase
from pipelines.settings import load, parse_night

ORDER = (
    *("ingest", "validate", "scrub", "split", "synthesize", "finetune", "admit", "evaluate", "safety"),
    *("gate", "promote", "publish_card", "drift"),
)
HIDDEN = ("step", "night", "key", "memo", "after", "inputs", "seconds")  # of a result, in the log
SHORT = 80  # characters of a part that is kept as it is; a longer one is kept as its hash
log = logging.getLogger("pipelines")
Step = Callable[[str, str, str], dict]
Parts = dict[str, str]


class Night(NamedTuple):
    """One night of one use case, as a step sees it."""

    usecase: UseCase
    profile: Profile
    night: str  # YYYY-MM-DD
    lake: Lake
    tab: Tab  # what the step that runs asks of models, and spends
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


def open_night(usecase: str, profile: str, night: str, step: str = "") -> Night:
    """Load the settings and open the lake; `step` is what will run, for its spending."""
    settings = load(usecase, profile)
    lake, day = Lake(f"{settings.profile.lake}/{usecase}"), parse_night(night)
    return Night(settings.usecase, settings.profile, day, lake, Tab(lake, settings.usecase.budget, day, step))


def fingerprint(*parts: object) -> str:
    """SHA-256 (first 16 hex digits) of the parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def step(
    code: int, after: str = "", sections: tuple[str, ...] = (), extra: Callable[[Night], Mapping[str, object]] | None = None
) -> Callable[[Callable[[Night], dict]], Step]:
    """Declare a step: its code version, the step before it, its sections of the use case, and what else its result depends on.

    `extra(night)` returns the other parts of the key by name (the files that lie there, the champion).
    """

    def declare(work: Callable[[Night], dict]) -> Step:
        name = work.__name__

        def parts(night: Night, inputs: str) -> Parts:
            own = night.usecase.model_dump(mode="json", include=set(sections))
            found = {"code": code, "night": night.night} | ({f"result of {after}": inputs} if after else {})
            return {part: _short(value) for part, value in (found | _flat(own) | dict(extra(night) if extra else {})).items()}

        def run(usecase: str, profile: str, night: str) -> dict:
            opened = open_night(usecase, profile, night, name)
            with opened.lake.shared():
                return work_on(opened)

        def work_on(opened: Night) -> dict:
            started = time.perf_counter()
            inputs = opened.before(after)["key"] if after else ""
            made_of = parts(opened, inputs)
            key = fingerprint(name, made_of)
            if (found := memo.recall(opened.lake, name, opened.night, key)) is not None:
                result = found | {"memo": True}
                log.info("%s: nothing to do, the same inputs gave %s", name, _brief(found))
            else:
                log.info("%s: started", name)
                about = {"step": name, "night": opened.night, "key": key, "memo": False, "after": after, "inputs": inputs}
                result = about | _complete(opened._replace(key=key), work)
                result["seconds"] = round(time.perf_counter() - started, 2)
                log.info("%s: %s in %.1f s", name, _brief(result), result["seconds"])
            memo.store(opened.lake, result, made_of)
            return result

        run.__name__, run.__qualname__, run.__doc__, run.__module__ = name, name, work.__doc__, work.__module__
        run.after, run.parts = after, parts
        return run

    return declare


def explain(steps: Sequence[Step], usecase: str, profile: str, night: str) -> list[dict]:
    """Whether each of the steps, which follow on each other, would run now, and why: see `memo.explain`. Nothing is run."""
    keys: dict[str, str] = {}
    told = []
    for one in steps:
        opened = open_night(usecase, profile, night, one.__name__)
        try:
            made_of = one.parts(opened, keys.get(one.after, ""))
        except UserError as error:
            told.append({"step": one.__name__, "night": opened.night, "runs": True, "why": str(error), "changed": [], "seconds": None})
            continue
        keys[one.__name__] = fingerprint(one.__name__, made_of)
        told.append(memo.explain(opened.lake, one.__name__, opened.night, keys[one.__name__], made_of))
    return told


def _complete(night: Night, work: Callable[[Night], dict]) -> dict:
    """The work's result with what is on the tab; raises Waiting where a provider has some of it still."""
    found = work(night)
    if night.tab.waiting:
        batches = [{"endpoint": endpoint, "batch": batch} for batch, endpoint in night.tab.waiting.items()]
        ids = ", ".join(night.tab.waiting)
        raise Waiting(f"{night.tab.step} waits for {ids}: run it again when that has ended, it goes on where it stopped", batches)
    result = night.tab.figures() | found
    if night.tab.partial:
        log.warning("partial: %s; another run of this step asks for these again", night.tab.partial)
        result["key"] = fingerprint(night.key, found, night.tab.partial)  # what follows must not be taken for that of a whole result
    return result


def _flat(settings: object, name: str = "") -> dict[str, object]:
    """Each setting by its dotted name."""
    if isinstance(settings, dict) and settings:
        return {k: v for key, value in settings.items() for k, v in _flat(value, f"{name}.{key}" if name else key).items()}
    return {name: settings}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= SHORT else f"#{fingerprint(text)}"


def _brief(result: dict) -> str:
    """The figures of a result on one line; of a step that asked no model nothing is said of models."""
    hidden = HIDDEN if result.get("model_calls") or result.get("reused_calls") else (*HIDDEN, "model_calls", "reused_calls", "spent")
    shown = {k: v for k, v in result.items() if k not in hidden and isinstance(v, (int, float, str, bool))}
    return ", ".join(f"{key} {value}" for key, value in shown.items()) or "done"
