"""Where a row went: `python -m pipelines lineage --usecase support --row ID`, with a row_id or an example_id.

From the file that it was read from to the models that learnt from it, at the tables' newest versions. A row that was
refused when it was read has no id; it stands in `quarantine` by its file and line. No text of a row is shown.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from pipelines.errors import UserError
from pipelines.evaluation import planted
from pipelines.foundation import ledger, moves, protected, registry, subjects
from pipelines.foundation.lake import among, literal
from pipelines.foundation.step import Night, open_night
from pipelines.release import lineage

PLACE = ["row_id", "file", "source", "line", "night", "day"]
EXAMPLE = ["example_id", "split", "night", "source", "parent_id", "rows"]
MADE = ["example_id", "parent_id", "split", "night", "method"]
COUNTED = ("pseudonyms", "labels", "predictions", "scores", "judgements", "calls")
LOOKED = (
    *("traffic", "clean", "pseudonyms", "quarantine", "examples", "synthetic", "labels"),
    *("trained", "predictions", "scores", "judgements", "calls"),
)


def trace_row(usecase: str, profile: str, row: str) -> dict:
    """Everything that came of a row; raises UserError, which says where it looked, for an id that stands nowhere."""
    night = open_night(usecase, profile, moves.ALWAYS)
    examples = _examples(night, row)
    mentioned = {name for found in examples if found["example_id"] == row for name in json.loads(found["rows"] or "[]")}
    read = _read(night, mentioned | {row})
    made = _descendants(night, {found["example_id"] for found in examples} | {row}, row)
    ids = {row, *(found["example_id"] for found in (*examples, *made))}
    hidden = _hidden(night, examples)
    found = {"usecase": usecase, "id": row, "read": read, "refused": _refused(night, read), "examples": _held(examples, row), "made": made}
    found |= {"datasets": _datasets(night, [*examples, *made]), "adapters": _adapters(night, ids)}
    found |= {
        "pseudonyms": _count(night, "pseudonyms", "row_id", {place["row_id"] for place in read}, ["night"]),
        "labels": _count(night, "labels", "example_id", ids, ["night", "source"]),
        "predictions": _count(night, "predictions", "example_id", ids | hidden, ["night", "model"]),
        "scores": _count(night, "scores", "example_id", ids | hidden, ["night", "metric"]),
        "judgements": _count(night, "judgements", "item", ids | hidden, ["night", "purpose", "judge"]),
        "calls": _calls(night, ids | hidden),
    }
    if not any(value for key, value in found.items() if key not in ("usecase", "id")):
        looked = ", ".join(f"{table} (version {night.lake.version(table)})" for table in LOOKED if night.lake.version(table) is not None)
        raise UserError(
            f"{usecase} has no row {row!r}: neither a row_id nor an example_id in {looked or 'any table: none was written yet'}. A row "
            "that was refused when it was read has no id, look for its file and line in quarantine; one that was erased is in no table"
        )
    return found


def render(found: dict) -> str:
    """The same for a terminal."""
    lines = [f"{found['id']} in {found['usecase']}"]
    lines += [f"read     {row['source']}, line {row['line']}, night {row['night']} (row {row['row_id']})" for row in found["read"]]
    lines += [f"refused  by {row['step']} on {row['night']}: {row['reason']}" for row in found["refused"]]
    lines += [f"example  {row['example_id']}: {row['holds']}, {row['split']}, night {row['night']}" for row in found["examples"]]
    lines += [
        f"made     {row['example_id']} from {row['parent_id']} by {row['method']}, depth {row['depth']}, night {row['night']}"
        for row in found["made"]
    ]
    lines += [f"dataset  night {row['night']}: " + ", ".join(f"{k} v{v}" for k, v in row["tables"].items()) for row in found["datasets"]]
    for name in COUNTED:
        lines += [f"{name}: {row['rows']} ({', '.join(str(v) for k, v in row.items() if k != 'rows')})" for row in found[name]]
    lines += [f"adapter  {_adapter(row)}" for row in found["adapters"]]
    return "\n".join(lines)


def _adapter(row: dict) -> str:
    words = {"now": "the champion", "before": "was champion", "never": "never champion"}
    told = [f"version {found['version']}, {words[found['champion']]}" for found in row["versions"]]
    told += [f"version {found['version']} contains erased data" for found in row["versions"] if found["contains_erased_data"]]
    return f"{row['model']}, night {row['night']}: trained on {row['examples']} of these; {'; '.join(told) or 'not in the registry'}"


def _examples(night: Night, row: str) -> list[dict]:
    """The examples that are the row, or whose prompt holds it."""
    spelt = {json.dumps(row), json.dumps(row, ensure_ascii=False)}
    where = " OR ".join([f"example_id = '{literal(row)}'", *(f"strpos(rows, '{literal(text)}') > 0" for text in sorted(spelt))])
    found = night.lake.read("examples", night.lake.version("examples"), EXAMPLE, where).to_pylist()
    kept = [entry for entry in found if entry["example_id"] == row or row in json.loads(entry["rows"] or "[]")]
    return sorted(kept, key=lambda entry: (entry["night"], entry["example_id"]))


def _held(examples: Sequence[dict], row: str) -> list[dict]:
    """Each example, and as what it holds the row: itself, own (its last message) or context."""
    told = []
    for entry in examples:
        rows = json.loads(entry["rows"] or "[]")
        holds = "itself" if entry["example_id"] == row else "own" if rows[-1:] == [row] else "context"
        told.append({key: entry[key] for key in ("example_id", "split", "night", "source", "parent_id")} | {"holds": holds})
    return told


def _read(night: Night, rows: set[str]) -> list[dict]:
    """Where the rows stood: raw as they were read, or scrubbed where the raw ones are no longer kept."""
    found: dict[str, dict] = {}
    for table in ("clean", "traffic"):
        found |= {row["row_id"]: row for row in _select(night, table, "row_id", rows, PLACE)}
    return sorted(found.values(), key=lambda row: (row["night"], row["source"] or "", row["line"]))


def _refused(night: Night, read: Sequence[dict]) -> list[dict]:
    """Refusals of these lines of their files, after they were read. The reason is a word; the detail may quote."""
    places = {(row["file"], row["line"]) for row in read}
    columns = ["file", "source", "line", "night", "step", "reason"]
    found = _select(night, "quarantine", "file", {file for file, _ in places}, columns)
    return [{key: row[key] for key in columns[1:]} for row in found if (row["file"], row["line"]) in places]


def _descendants(night: Night, parents: set[str], row: str) -> list[dict]:
    """What was made from these examples or shown them, from that again, and so on; the row itself at depth 0 where it was made."""
    found = [entry | {"table": "synthetic", "depth": 0} for entry in _select(night, "synthetic", "example_id", {row}, MADE)]
    seen, depth = set(parents), 0
    while parents:
        depth += 1
        children = [child | {"table": "synthetic"} for child in _select(night, "synthetic", "parent_id", parents, MADE)]
        children += [child | {"table": "synthetic"} for child in _shown(night, parents)]
        for child in _select(night, "examples", "parent_id", parents, [*MADE[:-1], "source"]):
            children.append(child | {"method": child.pop("source"), "table": "examples"})
        new = {child["example_id"]: child | {"depth": depth} for child in children if child["example_id"] not in seen}
        found += sorted(new.values(), key=lambda child: (child["night"], child["example_id"]))
        parents = set(new)
        seen |= parents
    return found


def _shown(night: Night, examples: set[str]) -> list[dict]:
    """Synthetic rows whose model was shown one of these beside the row that it was to vary."""
    found = []
    for batch in night.lake.scan("synthetic", night.lake.version("synthetic"), [*MADE, "shown"], "shown IS NOT NULL"):
        for row in batch.to_pylist():
            if not examples.isdisjoint(json.loads(row.pop("shown"))):
                found.append(row)
    return found


def _hidden(night: Night, examples: Sequence[dict]) -> set[str]:
    """The ids under which `safety` asks about these rows with an instruction planted in them."""
    sealed = {entry["example_id"] for entry in examples if entry["split"] == "test"}
    hosts = _select(night, "examples", "example_id", sealed, ["example_id", "prompt"])
    return {one.id for one in planted.plant(protected.read(night).injections, hosts)} if hosts else set()


def _datasets(night: Night, examples: Sequence[dict]) -> list[dict]:
    """The nights whose tables hold one of these, with the versions that the night works on."""
    table_of = {"split": "examples", "synthesize": "synthetic"}
    first: dict[str, str] = {}
    for entry in examples:
        table = entry.get("table", "examples")
        first[table] = min(first.get(table, moves.ALWAYS), entry["night"])
    where = f"step IN ({', '.join(map(repr, table_of))})"
    memo = night.lake.read("memo", night.lake.version("memo"), ["night", "step", "result", "at"], where).to_pylist() if first else []
    nights: dict[str, dict[str, int]] = {}
    for row in sorted(memo, key=lambda row: row["at"]):
        table = table_of[row["step"]]
        version = json.loads(row["result"]).get(table)
        if version is not None and first.get(table, moves.ALWAYS) <= row["night"]:
            nights.setdefault(row["night"], {})[table] = version
    return [{"night": name, "tables": dict(sorted(nights[name].items()))} for name in sorted(nights)]


def _adapters(night: Night, ids: set[str]) -> list[dict]:
    """The adapters that were trained on one of these, with their versions in the registry."""
    trained = Counter((row["model"], row["night"]) for row in _select(night, "trained", "example_id", ids, ["model", "night"]))
    if not trained:
        return []
    chain, versions = ledger.entries(night.lake), registry.client(night).search_model_versions(f"name = '{night.usecase.name}'")
    told: dict[str, list[dict]] = {}
    tainted = subjects.tainted(chain)
    for version in sorted(versions, key=lambda version: int(version.version)):
        about = {"version": str(version.version), "champion": lineage.champion(chain, str(version.version))}
        told.setdefault(version.tags.get(registry.KEY_TAG), []).append(
            about | {"contains_erased_data": version.tags.get(registry.KEY_TAG) in tainted}
        )
    return [
        {"model": model, "night": date, "examples": count, "versions": told.get(model, [])}
        for (model, date), count in sorted(trained.items(), key=lambda item: (item[0][1], item[0][0]))
    ]


def _calls(night: Night, ids: set[str]) -> list[dict]:
    """Replies of models to questions that hold one of these; a question's `item` is one id or several with a space between."""
    rows = (row for batch in night.lake.scan("calls", night.lake.version("calls"), ["day", "model", "item"]) for row in batch.to_pylist())
    return _told(["day", "model"], Counter((row["day"], row["model"]) for row in rows if not ids.isdisjoint((row["item"] or "").split())))


def _count(night: Night, table: str, column: str, ids: set[str], by: list[str]) -> list[dict]:
    """Rows about these, counted by what tells them apart."""
    return _told(by, Counter(tuple(row[key] for key in by) for row in _select(night, table, column, ids, by)))


def _told(by: list[str], found: Counter[tuple]) -> list[dict]:
    ordered = sorted(found.items(), key=lambda item: tuple(str(part) for part in item[0]))
    return [dict(zip(by, key, strict=True)) | {"rows": count} for key, count in ordered]


def _select(night: Night, table: str, column: str, values: Iterable[str], columns: list[str]) -> list[dict]:
    """Rows of the newest version whose column is one of the values."""
    version = night.lake.version(table)
    return [row for condition in among(column, sorted(values)) for row in night.lake.read(table, version, columns, condition).to_pylist()]
