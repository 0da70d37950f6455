"""Replace personal data by typed placeholders: `python -m pipelines scrub --usecase support --night 2026-11-20`.

Everything after this step reads the table `clean` and never the raw traffic. The same value in a conversation is the
same <NAME_1>, in all its turns and replies, also on later nights; another conversation begins at 1 again. What was found
is counted, never logged.
`python -m pipelines scrub --input rows.jsonl --json` prints the findings in each row's `text` and writes nothing.
`python -m pipelines scrub --usecase support --reveal ROW_ID` gives a row's values back to whoever holds the key.
"""

import contextlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.conversations import Reader
from pipelines.errors import UserError
from pipelines.foundation import privacy, pseudonyms, records
from pipelines.foundation.lake import literal
from pipelines.foundation.pseudonyms import Numbers
from pipelines.foundation.scratch import scratch
from pipelines.foundation.step import Night, open_night, step
from pipelines.sections import Kind, Privacy

if TYPE_CHECKING:
    import pyarrow as pa

SCRUBBED = ("text", "reply", "attributes")
log = logging.getLogger("pipelines.scrub")


@step(code=2, after="validate", sections=("privacy",))
def scrub(night: Night) -> dict:
    """Write the night's valid rows to `clean` with findings in text, reply and attributes replaced; returns counts by type.

    Rows are read and written as a stream. With a key, `pseudonyms` holds what each placeholder stands for. Raises UserError
    for a telephone region that does not exist, and for a key that is not there.
    """
    work = _Work(night)
    # Not written while it is read: delta-rs pulls what it writes from a thread in which it cannot read.
    with scratch("nightshift-scrub-") as folder:
        work.spool(folder)
        version = night.lake.replace("clean", lambda: _read(folder / "clean"), night=night.night)
        kept = night.lake.version("pseudonyms")
        if work.sealed or kept is not None:  # an empty replacement takes away what an earlier run of this night left
            kept = night.lake.replace("pseudonyms", lambda: _read(folder / "pseudonyms"), night=night.night)
    counts = {"rows": work.rows, "touched": work.touched, "entities": dict(sorted(work.entities.items()))}
    return {"clean": version, **({} if kept is None else {"pseudonyms": kept})} | counts


class _Work:
    """One pass over the night, counted."""

    def __init__(self, night: Night) -> None:
        before, settings = night.before("validate")["quarantine"], night.usecase.privacy
        self._reader = Reader(night.lake, night.before("ingest")["traffic"], night.night)
        refused = night.lake.read("quarantine", before, ["file", "line"], f"night = '{night.night}' AND step = 'validate'")
        self._gone = {(row["file"], row["line"]) for row in refused.to_pylist()}
        self._night = night.night
        self._settings, self._detector = settings, privacy.build(settings)
        self._key = pseudonyms.read_key(settings.key_env) if settings.key_env else b""
        self.rows = self.touched = self.sealed = 0
        self.entities: Counter[str] = Counter()

    def spool(self, folder: Path) -> None:
        """Write the rows of `clean` and of `pseudonyms` into Arrow files of these names."""
        with _writer(folder, "clean") as clean, _writer(folder, "pseudonyms") as seals:
            for groups in self._reader.groups():
                sealed: list[dict] = []
                clean([row for group in groups for row in self._group(group, sealed)])
                seals(sealed)
                self.sealed += len(sealed)

    def _group(self, rows: list[dict], sealed: list[dict]) -> Iterator[dict]:
        """Tonight's valid rows of one conversation, scrubbed; the others are gone through for the numbers' sake."""
        numbers = Numbers()
        for row in rows:
            clerk = Clerk(self._settings, self._detector, numbers)
            scrubbed = clerk.scrub(row)
            if row["night"] != self._night or (row["file"], row["line"]) in self._gone:
                continue
            self.rows += 1
            self.touched += any(clerk.found.values())
            self.entities += clerk.found
            if self._key:
                sealed += self._sealed(row, clerk.values)
            yield scrubbed

    def _sealed(self, row: dict, values: dict[str, str]) -> Iterator[dict]:
        about = {name: row[name] for name in ("night", "conversation_id", "row_id", "subject_id")}
        for placeholder, value in values.items():
            yield about | {"placeholder": placeholder, "sealed": pseudonyms.seal(self._key, value, row["row_id"], placeholder)}


@contextlib.contextmanager
def _writer(folder: Path, table: str) -> Iterator[Callable[[list[dict]], None]]:
    """A function that adds rows to an Arrow file."""
    import pyarrow as pa

    schema = records.schema(table)
    with pa.OSFile(str(folder / table), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        yield lambda rows: stream.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def _read(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        yield from stream


class Clerk:
    """Scrubs the texts of one row by the policy for training, and remembers what it did."""

    def __init__(self, settings: Privacy, detector: privacy.Detector, numbers: Numbers) -> None:
        self._settings, self._detector, self._numbers = settings, detector, numbers
        self.found: Counter[str] = Counter()  # by type
        self.values: dict[str, str] = {}  # the first value behind each numbered placeholder

    def scrub(self, row: dict) -> dict:
        """The row with its texts scrubbed."""
        said = {field: self.text(row[field], field) for field in ("text", "reply") if row[field]}
        noted = row["attributes"]
        return row | said | ({"attributes": self._json(noted)} if noted and noted != "{}" else {})

    def text(self, text: str, field: str) -> str:
        """One text."""
        return self.replace(text, self.find(text), field)

    def find(self, text: str) -> list[privacy.Span]:
        """What is to be hidden in a text of this conversation."""
        return privacy.find(text, self._detector, self._numbers.known(text))

    def replace(self, text: str, spans: list[privacy.Span], field: str) -> str:
        """One text whose findings are known."""
        self._numbers.reserve(text)
        return privacy.replace(text, spans, lambda span, value: self._name(span.type, value, field))

    def _name(self, kind: Kind, value: str, field: str) -> str:
        action = self._settings.action("train", kind, field)
        self.found[kind] += action != "keep"
        if action != "pseudonym":
            return privacy.placed(action, kind, value)
        placeholder = self._numbers.give(kind, value)
        self.values.setdefault(placeholder, value)
        return placeholder

    def _json(self, text: str) -> str:
        """A JSON object with its strings scrubbed; the names of its columns stay."""

        def walk(value: object) -> object:
            if isinstance(value, str):
                return self.text(value, "attributes")
            if isinstance(value, list):
                return [walk(inner) for inner in value]
            return {key: walk(inner) for key, inner in value.items()} if isinstance(value, dict) else value

        return json.dumps(walk(json.loads(text)), ensure_ascii=False)


def reveal(usecase: str, profile: str, row_id: str) -> dict:
    """The row of `clean` with the values behind its placeholders, as {"row_id", "text", "reply"}: for whoever holds the key.

    Raises UserError without the key or with another one, and for a row that is not there.
    """
    night = open_night(usecase, profile, "9999-12-31")
    key = pseudonyms.read_key(night.usecase.privacy.key_env)
    where = f"row_id = '{literal(row_id)}'"
    rows = night.lake.read("clean", night.lake.version("clean"), ["night", "text", "reply"], where).to_pylist()
    if not rows:
        raise UserError(f"the table clean of {usecase} holds no row {row_id}: --reveal takes a row_id of a night that was scrubbed")
    row = max(rows, key=lambda row: row["night"])
    kept = night.lake.read("pseudonyms", night.lake.version("pseudonyms"), where=f"{where} AND night = '{row['night']}'").to_pylist()
    values = {one["placeholder"]: pseudonyms.unseal(key, one["sealed"], row_id, one["placeholder"]) for one in kept}
    log.info("the row %s was opened with the key in %s: %d values", row_id, night.usecase.privacy.key_env, len(values))

    def opened(text: str | None) -> str | None:
        return text and privacy.PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), text)

    return {"row_id": row_id, "text": opened(row["text"]), "reply": opened(row["reply"])}


def scrub_lines(path: str) -> Iterator[dict]:
    """Each row of a JSONL file as {"text", "spans"}, with the default settings of `privacy`; blank lines are passed over.

    `text` is the scrubbed text, its placeholders numbered within the rows of the same `conversation_id`, or of the row; the
    spans are offsets, in characters, into the text as it was. Raises UserError for a file or a line that cannot be read.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}: --input takes a JSONL file whose rows have a column text")
    settings = Privacy()
    detector = privacy.build(settings)
    begun: defaultdict[str, Numbers] = defaultdict(Numbers)
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            row = _row(path, number, line)
            name = row.get("conversation_id")
            clerk = Clerk(settings, detector, Numbers() if name in (None, "") else begun[str(name)])
            spans = clerk.find(row["text"])
            text = clerk.replace(row["text"], spans, "text")
            yield {"text": text, "spans": [span._asdict() for span in spans]}


def _row(path: str, number: int, line: bytes) -> dict:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise UserError(f"{path}: line {number} is not JSON in UTF-8: {getattr(error, 'msg', error)}") from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f"{path}: line {number} must be an object whose text is a string, as in {json.dumps({'text': 'where is my card'})}")
    return row
