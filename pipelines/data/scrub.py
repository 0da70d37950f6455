"""Replace personal data by typed placeholders: `python -m pipelines scrub --usecase support --night 2026-11-20`.

Everything after this step reads the table `clean` and never the raw traffic. What was found is counted, never logged.
`python -m pipelines scrub --input rows.jsonl --json` prints the findings in each row's `text` and writes nothing.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import UserError
from pipelines.foundation import privacy
from pipelines.foundation.step import Night, step
from pipelines.sections import Privacy

SCRUBBED = ("text", "reply", "attributes")


@step(code=1, after="validate", sections=("privacy",))
def scrub(night: Night) -> dict:
    """Write the night's valid rows to `clean` with findings in text, reply and attributes replaced; returns counts by type.

    Raises UserError for a telephone region that does not exist.
    """
    where = f"night = '{night.night}'"
    refused = night.lake.read("quarantine", night.before("validate")["quarantine"], ["file", "line"], f"{where} AND step = 'validate'")
    gone = {(row["file"], row["line"]) for row in refused.to_pylist()}
    rows = night.lake.read("traffic", night.before("ingest")["traffic"], where=where).to_pylist()
    kept = [row for row in rows if (row["file"], row["line"]) not in gone]
    detector = privacy.build(night.usecase.privacy) if kept else None
    entities: Counter[str] = Counter()
    touched = 0
    for row in kept:
        found: Counter[str] = Counter()
        for column in SCRUBBED:
            if row[column]:
                row[column] = _scrub_json(row[column], detector, found) if column == "attributes" else _scrub(row[column], detector, found)
        touched += bool(found)
        entities += found
    version = night.lake.replace("clean", kept, night=night.night)
    return {"clean": version, "rows": len(kept), "touched": touched, "entities": dict(sorted(entities.items()))}


def scrub_lines(path: str) -> Iterator[dict]:
    """Each row of a JSONL file as {"text", "spans"}, with the default settings of `privacy`; blank lines are passed over.

    `text` is the scrubbed text; the spans are offsets, in characters, into the text as it was. Raises UserError for a file
    or a line that cannot be read.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}: --input takes a JSONL file whose rows have a column text")
    detector = privacy.build(Privacy())
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                text = _text(path, number, line)
                spans = privacy.find(text, detector)
                yield {"text": privacy.replace(text, spans), "spans": [span._asdict() for span in spans]}


def _text(path: str, number: int, line: bytes) -> str:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise UserError(f"{path}: line {number} is not JSON in UTF-8: {getattr(error, 'msg', error)}") from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f"{path}: line {number} must be an object whose text is a string, as in {json.dumps({'text': 'where is my card'})}")
    return row["text"]


def _scrub(text: str, detector: privacy.Detector, found: Counter[str]) -> str:
    spans = privacy.find(text, detector)
    found.update(span.type for span in spans)
    return privacy.replace(text, spans)


def _scrub_json(text: str, detector: privacy.Detector, found: Counter[str]) -> str:
    """A JSON object with its strings scrubbed; the names of its columns stay."""

    def walk(value: object) -> object:
        if isinstance(value, str):
            return _scrub(value, detector, found)
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return {key: walk(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    return json.dumps(walk(json.loads(text)), ensure_ascii=False)
