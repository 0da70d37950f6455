"""Which row ids were accepted before: a row id is accepted once, and a second row under it is refused, not overwritten.

Reasons given here: duplicate_row (the same content again), duplicate_id (other content). Ids live in Arrow columns, not in
a Python set; the content of an earlier row is read from the lake only where its id comes again.
"""

import json

from pipelines.data.rows import Refusal, refuse
from pipelines.foundation.lake import Lake

CONTENT = ("conversation_id", "turn", "subject_id", "created_at", "text", "label", "reply", "attributes")
LOOKUP = 500  # ids in one query


class Known:
    """The row ids of `traffic` up to a night, and of what this run has accepted."""

    def __init__(self, lake: Lake, night: str) -> None:
        self.lake, self.night = lake, night
        self.reload()

    def reload(self) -> None:
        """Read the ids again, after rows were removed."""
        table = self.lake.read("traffic", self.lake.version("traffic"), ["row_id"], f"night <= '{self.night}'")
        self.chunks = table.column("row_id").chunks

    def admit(self, rows: list[dict]) -> tuple[list[dict], list[Refusal]]:
        """(rows with new ids, refusals of the others); the first row with an id wins."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = pa.array([row["row_id"] for row in rows], pa.string())
        old = pc.is_in(ids, value_set=pa.chunked_array(self.chunks, pa.string())).to_pylist()
        seen = self._earlier({row["row_id"] for row, is_old in zip(rows, old, strict=True) if is_old})
        new, again = [], []
        for row in rows:
            before = seen.setdefault(row["row_id"], row)
            if before is row:
                new.append(row)
                continue
            same = _content(before) == _content(row)
            reason, what = ("duplicate_row", "the same row") if same else ("duplicate_id", "another row with this id")
            raw = json.dumps({name: row[name] for name in ("row_id", *CONTENT)}, default=str, ensure_ascii=False)
            place = f"{before['source']}, line {before['line']}"
            again.append(refuse(row["line"], reason, f"{row['row_id'][:100]!r}: {what} is in {place}", raw))
        self.chunks.append(pa.array([row["row_id"] for row in new], pa.string()))
        return new, again

    def _earlier(self, ids: set[str]) -> dict[str, dict]:
        """Content and place of rows in the lake (this run's earlier batches too), by id."""
        version = self.lake.version("traffic")
        ordered = sorted(ids)
        found = {}
        for start in range(0, len(ordered), LOOKUP):
            names = ", ".join("'" + name.replace("'", "''") + "'" for name in ordered[start : start + LOOKUP])
            where = f"night <= '{self.night}' AND row_id IN ({names})"
            for row in self.lake.read("traffic", version, ["row_id", "source", "line", *CONTENT], where).to_pylist():
                found[row["row_id"]] = row
        return found


def _content(row: dict) -> list[str]:
    return [str(row[name]) for name in CONTENT]
