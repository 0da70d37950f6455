"""What a house holds once its nights are over, without what may differ between two runs of the same nights.

Ids that are drawn (runs, models, hashes over a time) are replaced by what they stand for; a table's version by a digest of
its rows, for a killed night may have needed more commits to the same rows; times and figures of one run are left out.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.foundation import ledger, records, registry, upkeep
from pipelines.foundation.lake import Lake
from pipelines.foundation.spend import ZERO, Book
from pipelines.foundation.step import ORDER, Night, open_night, results
from tests.killing.house import NAME, NIGHTS

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Facts about one run, not about what it left: what a killed try had done already, the next one finds. And the code's own hash.
OF_A_RUN = frozenset(("seconds", "tokens_per_second", "resumed_at", "model_calls", "reused_calls", "spent", "generated", "reused", "code"))
COLUMNS = {"predictions": ("seconds",), "calls": ("day",)}  # that hold times
OWN = re.compile(r"lake/\w+/(\w+/(_delta_log/|\w+=).*|spend/\d{8}\.json)")
COMMIT = re.compile(r"\d{20}\.(json|checkpoint\.parquet)|_last_checkpoint")


def survey(tell: Callable[..., None], path: str) -> None:
    """Write the facts to a file, as JSON."""
    night = open_night(NAME, "local", NIGHTS[-1])
    client = registry.client(night)
    names = _names(night, client)
    facts = {
        "tables": {table: _rows(night.lake, table) for table in records.TABLES if table != "memo"},
        "results": {day: results(night.lake, day) for day in NIGHTS},
        "ledger": [[entry.seq, entry.night, entry.kind, entry.body] for entry in ledger.entries(night.lake)],
        "runs": _runs(client),
        "models": _models(client),
        "registry": _registry(client),
        "files": _files(Path(night.profile.state)),
    }
    facts = _plain(facts, night.lake, names)
    facts["files"].sort()
    facts |= {"orphans": _orphans(night.lake), "curves": _curves(client), "spend": _spend(night.lake)}
    Path(path).write_text(json.dumps(facts, sort_keys=True, default=str))


def differences(one: object, two: object, where: str = "", near: float = 0.0) -> Iterable[str]:
    """The places where two facts differ; numbers may differ by `near`."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            if key not in one or key not in two:
                yield f"{where}.{key}: {'more' if key in two else 'missing'}: {str(two.get(key, one.get(key)))[:300]}"
            else:
                yield from differences(one[key], two[key], f"{where}.{key}", near)
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for place, (first, second) in enumerate(zip(one, two, strict=True)):
            yield from differences(first, second, f"{where}[{place}]", near)
    elif isinstance(one, list) and isinstance(two, list):
        ours, theirs = (Counter(json.dumps(part, sort_keys=True) for part in side) for side in (one, two))
        yield from (f"{where}: {count} time(s) missing: {part[:300]}" for part, count in (ours - theirs).items())
        yield from (f"{where}: {count} time(s) more: {part[:300]}" for part, count in (theirs - ours).items())
    elif one != two and not (near and isinstance(one, float) and isinstance(two, float) and abs(one - two) <= near):
        yield f"{where}: {str(one)[:300]} became {str(two)[:300]}"


def _names(night: Night, client: "MlflowClient") -> dict[str, str]:
    """What each id stands for."""
    names = {}
    for day in NIGHTS:
        for step, found in results(night.lake, day).items():
            names[found["key"]] = f"<key of {step} {day}>"
    counted: Counter[str] = Counter()
    for run in _every_run(client):
        about = f"run {run.info.run_name} of {run.data.tags.get(registry.NIGHT_TAG)}"
        counted[about] += 1
        names[run.info.run_id] = f"<{about}, {counted[about]}>"
    for model in _every_model(client):
        about = f"model of {names.get(model.source_run_id)}"
        counted[about] += 1
        names[model.model_id] = f"<{about}, {counted[about]}>"
    for entry in ledger.entries(night.lake):
        names[entry.hash] = f"<entry {entry.seq}>"
    return names


def _plain(facts: dict, lake: Lake, names: dict[str, str]) -> dict:
    """Facts with names for ids, and digests for versions of tables."""
    known: dict[tuple[str, int], str] = {}

    def digest(table: str, version: int) -> str:
        if (table, version) not in known:
            rows = json.dumps(_rows(lake, table, version), default=str)
            known[table, version] = f"<rows {hashlib.sha256(_named(rows).encode()).hexdigest()[:12]}>"
        return known[table, version]

    def _named(text: str) -> str:
        return pattern.sub(lambda found: names[found[0]], text)

    def walk(value: object, table: str = "") -> object:
        if table and str(value).isdigit():
            return digest(table, int(str(value)))
        if isinstance(value, dict):
            told = {key: json.loads(found) if key == registry.PINS_TAG else found for key, found in value.items()}
            return {_named(key): walk(found, _table(key, value)) for key, found in told.items() if key not in OF_A_RUN}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return _named(value) if isinstance(value, str) else value

    pattern = re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True)))
    return walk(facts)


def _table(key: str, among: dict) -> str:
    """The table whose version a key holds: in a step's result, a tag, a parameter, or an entry's list of tables; else empty."""
    name = key.removeprefix("nightshift.table.").removesuffix("_version")
    versions = name != key or among.get("step") in ORDER or set(among) <= set(records.TABLES)
    return name if versions and name in records.TABLES else ""


def _rows(lake: Lake, table: str, version: int | None = None) -> list[str]:
    """Rows of a version (the newest) as JSON, in an order of their own."""
    rows = lake.read(table, lake.version(table) if version is None else version).to_pylist()
    told = ({name: value for name, value in row.items() if name not in COLUMNS.get(table, ())} for row in rows)
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in told)


def _every_run(client: "MlflowClient") -> list:
    experiments = [found.experiment_id for found in client.search_experiments()]
    return sorted(client.search_runs(experiments, max_results=1_000), key=lambda run: run.info.start_time)


def _every_model(client: "MlflowClient") -> list:
    experiments = [found.experiment_id for found in client.search_experiments()]
    return sorted(client.search_logged_models(experiments), key=lambda model: model.creation_timestamp)


def _runs(client: "MlflowClient") -> list[dict]:
    return [
        {
            "id": run.info.run_id,
            "status": run.info.status,
            "ended": run.info.end_time is not None,
            "tags": {name: value for name, value in run.data.tags.items() if name.startswith("nightshift.")},
            "params": run.data.params,
            "metrics": {name: value for name, value in run.data.metrics.items() if name not in OF_A_RUN},
            "artifacts": sorted(found.path for found in client.list_artifacts(run.info.run_id)),
        }
        for run in _every_run(client)
    ]


def _models(client: "MlflowClient") -> list[dict]:
    about = ("model_id", "name", "status", "source_run_id")
    sources = [version.source for version in client.search_model_versions(f"name = '{NAME}'")]
    return [
        {key: str(getattr(model, key)) for key in about}
        | {"tags": {name: value for name, value in model.tags.items() if name.startswith("nightshift.")}}
        | {"versions": sources.count(f"models:/{model.model_id}")}
        for model in _every_model(client)
    ]


def _registry(client: "MlflowClient") -> dict:
    about = ("version", "source", "run_id", "status", "tags", "aliases")
    versions = sorted(client.search_model_versions(f"name = '{NAME}'"), key=lambda found: int(found.version))
    return {
        "aliases": {alias: str(version) for found in client.search_registered_models() for alias, version in found.aliases.items()},
        "versions": [{key: getattr(found, key) for key in about} | {"described": bool(found.description)} for found in versions],
    }


def _curves(client: "MlflowClient") -> dict[str, list[float]]:
    """The loss by step; a step that was logged twice must have the same loss, and be counted once."""
    curves = {}
    for run in _every_run(client):
        found = {}
        for point in client.get_metric_history(run.info.run_id, "loss"):
            if abs(found.setdefault(point.step, point.value) - point.value) > 1e-5:
                raise AssertionError(f"step {point.step} has the losses {found[point.step]} and {point.value}")
        curves[run.info.run_name + run.data.tags[registry.NIGHT_TAG]] = [[step, found[step]] for step in sorted(found)]
    return curves


def _spend(lake: Lake) -> dict:
    """The book: what is reserved still, and dollars by night and step."""
    balance = Book(lake).balance
    return {
        "open": sorted(balance.open),
        "lines": {
            " ".join(place): [line.calls, line.prompt, line.completion, str(line.dollars.normalize()), str(line.unsure.normalize())]
            for place, line in balance.lines.items()
        },
        "dollars": str(sum((line.dollars for line in balance.lines.values()), ZERO).normalize()),
    }


def _files(state: Path) -> list[str]:
    """Files and empty folders besides the tables' and the money's own, and what lies in the temporary folder."""
    found = []
    for path in sorted(state.rglob("*")):
        name = path.relative_to(state).as_posix()
        empty = path.is_dir() and not any(path.iterdir())
        if empty or (path.is_file() and not name.startswith("models/") and not OWN.fullmatch(name)):
            found.append(name)
    return found + [f"tmp/{path.name}" for path in sorted(state.with_name("tmp").iterdir())]


def _orphans(lake: Lake) -> list[str]:
    """Files of tables that no version names."""
    found = []
    for table in sorted(set(records.TABLES) & {path.name for path in Path(lake.root).iterdir()}):
        folder, named = Path(lake.root, table), set()
        for log in (folder / "_delta_log").iterdir():
            if not COMMIT.fullmatch(log.name):
                found.append(f"{table}/{log.name}")
            elif log.suffix == ".json":
                named |= {line["add"]["path"] for line in map(json.loads, log.read_text().splitlines()) if "add" in line}
        files = {path.relative_to(folder).as_posix() for path in folder.glob("*=*/*")}
        found += [f"{table}/{name}" for name in sorted(files - named)]
    return found


def sweep(tell: Callable[..., None]) -> None:
    """Take away what no version of a table names."""
    night = open_night(NAME, "local", NIGHTS[-1])
    tell(swept=sum(upkeep.sweep(night.lake, table, 0) for table in records.TABLES))
