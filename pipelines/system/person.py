"""Everything in the lake that came from one person: rows, examples that quote them, what was made from those, and the models.

What is found follows the columns that say where a row came from, not the text: `examples.rows` names the rows that a
prompt holds, `parent_id` and the rows shown to a model lead to synthetic ones, `trained` to the adapters. REACH says by
which column each table is reached; a rule of the house holds it against `records.TABLES`.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.evaluation import planted
from pipelines.foundation import protected
from pipelines.foundation.lake import Lake, among, literal
from pipelines.foundation.step import Night

# Table to (kind of id, column), in the order in which rows are deleted: what leads to others goes last.
REACH = {
    "calls": ("example", "item"),  # one id or several, with a space between
    "judgements": ("example", "item"),
    "predictions": ("example", "example_id"),
    "scores": ("example", "example_id"),
    "trained": ("example", "example_id"),
    "labels": ("example", "example_id"),
    "synthetic": ("example", "example_id"),
    "examples": ("example", "example_id"),
    "pseudonyms": ("row", "row_id"),
    "quarantine": ("place", "raw"),
    "clean": ("row", "row_id"),
    "traffic": ("row", "row_id"),
}
UNREACHED = {  # tables that hold nothing of a person
    "files": "names and counts of files",
    "memo": "counts, versions and figures of steps",
    "requests": "the erasure removes its own request at last",
}


class Person(NamedTuple):
    """What was found of one person."""

    rows: tuple[str, ...]  # row_id
    places: dict[str, frozenset[int]]  # file (SHA-256) to lines, refused rows too
    refused: tuple[tuple[str, int, str], ...]  # (file, line, step) in quarantine
    examples: tuple[str, ...]  # example_id, synthetic descendants too
    models: tuple[str, ...]  # content keys
    nights: tuple[str, ...]
    texts: frozenset[str]  # as they came in and as they were scrubbed

    def __bool__(self) -> bool:
        return bool(self.rows or self.examples or self.refused)


def find(night: Night, subject: str) -> Person:
    """Everything of one person in the newest versions of the tables; raises UserError for a wrong safety file."""
    lake = night.lake
    own = f"subject_id = '{literal(subject)}'"
    columns = ["row_id", "file", "line", "night", "conversation_id", "text", "reply"]
    rows = lake.read("traffic", lake.version("traffic"), columns, own).to_pylist()
    talks = sorted({row["conversation_id"] for row in rows if row["conversation_id"]})
    for condition in among("conversation_id", talks):
        rows += lake.read("traffic", lake.version("traffic"), columns, f"subject_id IS NULL AND {condition}").to_pylist()
    ids = {row["row_id"] for row in rows}
    texts = {row["text"] for row in rows}
    for condition in among("row_id", sorted(ids)):
        texts |= set(lake.read("clean", lake.version("clean"), ["text"], condition)["text"].to_pylist())
    examples, nights = _examples(lake, own, ids, texts)
    examples |= _children(lake, examples, texts)
    if examples:
        examples |= _planted(night, examples)
    places: dict[str, set[int]] = {}
    for row in rows:
        places.setdefault(row["file"], set()).add(row["line"])
    refused = tuple(_refused(lake, subject, places, texts))
    for file, line, _ in refused:
        places.setdefault(file, set()).add(line)
    models = {
        model
        for condition in among("example_id", sorted(examples))
        for model in lake.read("trained", lake.version("trained"), ["model"], condition)["model"].to_pylist()
    }
    return Person(
        tuple(sorted(ids)),
        {file: frozenset(lines) for file, lines in places.items()},
        refused,
        tuple(sorted(examples)),
        tuple(sorted(models)),
        tuple(sorted({row["night"] for row in rows} | nights)),
        frozenset(texts),
    )


def remove(lake: Lake, person: Person) -> dict[str, int]:
    """Delete what was found from the newest version of each table; returns rows removed by table."""
    there = [table for table in REACH if lake.version(table) is not None]
    return {table: sum(lake.delete(table, condition) for condition in reached(lake, person, table)) for table in there}


def reached(lake: Lake, person: Person, table: str) -> Iterator[str]:
    """Conditions that together are true of the person's rows of a table."""
    kind, column = REACH[table]
    if kind == "row":
        yield from among(column, person.rows)
    elif kind == "place":
        for file, line, step in person.refused:
            yield f"(file = '{file}' AND line = {line} AND step = '{step}')"
    elif table == "calls":
        ids = set(person.examples)
        items = {item for batch in lake.scan(table, lake.version(table), [column]) for item in batch[column].to_pylist() if item}
        yield from among(column, sorted(item for item in items if not ids.isdisjoint(item.split())))
    else:
        yield from among(column, person.examples)


def _examples(lake: Lake, own: str, ids: set[str], texts: set[str]) -> tuple[set[str], set[str]]:
    """Ids and nights of the examples that are the person's or hold one of these rows in their prompt."""
    found: set[str] = set()
    nights: set[str] = set()
    quoting = set()
    for batch in lake.scan("examples", lake.version("examples"), ["example_id", "rows"]):
        for example, held in zip(batch["example_id"].to_pylist(), batch["rows"].to_pylist(), strict=True):
            if held and not ids.isdisjoint(json.loads(held)):
                quoting.add(example)
    conditions = [own, *among("example_id", sorted(quoting))]
    for condition in conditions:
        for row in lake.read("examples", lake.version("examples"), ["example_id", "night", "prompt"], condition).to_pylist():
            found.add(row["example_id"])
            nights.add(row["night"])
            texts.add(row["prompt"])
    return found, nights


def _planted(night: Night, examples: set[str]) -> set[str]:
    """Ids under which answers to these rows with an instruction planted in them are kept, and to rows that nobody knows any more.

    Such a prompt is no example; its id is a hash of the whole text, so that one of an earlier safety file cannot be traced.
    """
    safety = protected.read(night)
    version = night.lake.version("examples")
    sealed = night.lake.read("examples", version, ["example_id", "prompt", "attributes"], "split = 'test'").to_pylist()
    own = [row for row in sealed if row["example_id"] in examples]
    found = {hidden.id for injection in safety.injections for row in own for hidden in planted.plant([injection], [row])}
    known = {prompt.id for prompt in safety.prompts} | {hidden.id for hidden in planted.plant(safety.injections, sealed)}
    known |= {name for batch in night.lake.scan("examples", version, ["example_id"]) for name in batch[0].to_pylist()}
    answered = night.lake.read("predictions", night.lake.version("predictions"), ["example_id"])["example_id"].to_pylist()
    return found | (set(answered) - known)


def _children(lake: Lake, parents: set[str], texts: set[str]) -> set[str]:
    """Synthetic rows that were made from these examples, or shown them, and what was made from those in turn."""
    made = lake.read("synthetic", lake.version("synthetic"), ["example_id", "parent_id", "shown", "prompt"]).to_pylist()
    found: set[str] = set()
    while True:
        known = parents | found
        more = {row["example_id"] for row in made if row["parent_id"] in known or not known.isdisjoint(json.loads(row["shown"] or "[]"))}
        if more <= found:
            break
        found |= more
    texts |= {row["prompt"] for row in made if row["example_id"] in found}
    return found


def _refused(lake: Lake, subject: str, places: dict[str, set[int]], texts: set[str]) -> Iterator[tuple[str, int, str]]:
    """Quarantined rows of the person: at the place of an accepted one, or with the person's id in them."""
    word = re.compile(rf"(?<![\w-]){re.escape(subject)}(?![\w-])")
    for batch in lake.scan("quarantine", lake.version("quarantine"), ["file", "line", "step", "raw"]):
        for row in batch.to_pylist():
            if row["line"] in places.get(row["file"], ()) or word.search(row["raw"]):
                texts.add(row["raw"])
                yield row["file"], row["line"], row["step"]
