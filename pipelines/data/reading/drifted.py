"""What changed in the columns of tonight's files, each against the last file of its source and format before it."""

import json
import logging

from pipelines.data.reading import schemas
from pipelines.data.reading.sources import name_date
from pipelines.foundation.step import Night

log = logging.getLogger("pipelines.data.ingest")


def drifted(night: Night) -> list[dict[str, str]]:
    """Changes of all files that the night has taken: source, change (new, missing, renamed, retyped), column, was, is."""
    found: list[dict[str, str]] = []
    last: dict[tuple[str, str], schemas.Columns] = {}
    for row in _described(night):
        series, columns = (row["origin"], row["form"]), json.loads(row["columns"])
        if row["night"] == night.night and series in last:
            found += schemas.compare(row["source"], last[series], columns)
        last[series] = columns
    for change in found:
        log.warning("ingest: %(source)s: column %(column)r is %(change)s: was %(was)r, is %(is)r", change)
    return found[: schemas.MOST]


def suggestion(night: Night, origin: str, form: str, columns: schemas.Columns, wanted: list[str]) -> str:
    """For a file without columns that are mapped: which of its columns look like them; empty where none does."""
    before = [json.loads(row["columns"]) for row in _described(night) if (row["origin"], row["form"]) == (origin, form)]
    whole = [one for one in before if set(wanted) <= set(one)]
    pairs = schemas.alike(wanted, columns) | (schemas.renamed(whole[-1], columns) if whole else {})
    told = [f"{pairs[name]!r} looks like {name!r}" for name in wanted if name in pairs]
    return f"{' and '.join(told)}: was it renamed? " if told else ""


def _described(night: Night) -> list[dict]:
    """Files up to the night with columns, in the order in which their sources sent them."""
    names = ["night", "source", "origin", "dialect", "columns"]
    rows = night.lake.read("files", night.lake.version("files"), names, f"night <= '{night.night}' AND columns IS NOT NULL").to_pylist()
    found = [row | {"form": schemas.form(json.loads(row["dialect"] or "{}"))} for row in rows if row["columns"] != "{}"]
    return sorted(found, key=lambda row: (row["night"], name_date(row["source"].rpartition("/")[2]) or row["night"], row["source"]))
