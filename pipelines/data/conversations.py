"""Tonight's traffic in groups that belong together, in bounded memory: conversations whole, all other rows one by one."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

from pipelines.foundation.lake import Lake, literal

CHUNK = 10_000  # rows of tonight that are held at once, and the rows of earlier nights in the same conversations
ALONE = "(conversation_id IS NULL OR conversation_id = '')"
SAID = ["night", "conversation_id", "turn", "source", "file", "line", "text", "reply", "attributes"]


class Reader(NamedTuple):
    """One night of the table `traffic` at one version."""

    lake: Lake
    version: int | None
    night: str

    def groups(self) -> Iterator[list[list[dict]]]:
        """Groups of rows, some thousand rows at a time; a conversation's rows of earlier nights stand before tonight's."""
        for batch in self._scan(f"night = '{self.night}' AND {ALONE}"):
            yield [[row] for row in batch]
        counts: Counter[str] = Counter()
        for batch in self._scan(f"night = '{self.night}' AND NOT {ALONE}", ["conversation_id"]):
            counts.update(row["conversation_id"] for row in batch)
        begun = self._begun(counts)
        for names in _chunks(counts):
            yield self._conversations(names, sorted(begun.intersection(names)))

    def _conversations(self, names: list[str], begun: list[str]) -> list[list[dict]]:
        span = f"conversation_id >= '{literal(names[0])}' AND conversation_id <= '{literal(names[-1])}'"
        found: dict[str, list[dict]] = {name: [] for name in names}
        for batch in self._scan(f"night = '{self.night}' AND {span}"):
            for row in batch:
                found[row["conversation_id"]].append(row)
        if begun:
            listed = ", ".join(f"'{literal(name)}'" for name in begun)
            for batch in self._scan(f"night < '{self.night}' AND conversation_id IN ({listed})", SAID):
                for row in batch:
                    found[row["conversation_id"]].append(row)
        return [sorted(rows, key=_place) for rows in found.values()]

    def _begun(self, tonight: Collection[str]) -> set[str]:
        """The conversations of tonight that began on an earlier night."""
        found: set[str] = set()
        for batch in self._scan(f"night < '{self.night}' AND NOT {ALONE}", ["conversation_id"]) if tonight else ():
            found.update(row["conversation_id"] for row in batch if row["conversation_id"] in tonight)
        return found

    def _scan(self, where: str, columns: list[str] | None = None) -> Iterator[list[dict]]:
        return (batch.to_pylist() for batch in self.lake.scan("traffic", self.version, columns, where))


def _chunks(counts: Counter[str]) -> Iterator[list[str]]:
    """The conversations in order, so many at a time as have CHUNK rows together; none is cut in two."""
    names, rows = [], 0
    for name in sorted(counts):
        names.append(name)
        rows += counts[name]
        if rows >= CHUNK:
            yield names
            names, rows = [], 0
    if names:
        yield names


def _place(row: dict) -> tuple[str, int, str, str, int]:
    """Earlier nights first, then the turns, then as they stand in the files."""
    return row["night"], row["turn"] or 1, row["source"], row["file"], row["line"]
