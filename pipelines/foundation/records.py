"""One schema a table, in one place, with units: what every step may rely on when it reads the lake.

`night` is the run that wrote a row (YYYY-MM-DD, the partition that a re-run replaces);
`day` is the UTC date on which the traffic happened. They differ for late files and for the first night on old data.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_ROW = {
    "row_id": "string",  # the source's own id, or a hash of the content
    "file": "string",  # SHA-256 of the file's bytes
    "source": "string",  # path or URI as a person would type it
    "line": "int64",  # first line of the row in the file, from 1; Parquet, a JSON array: number of the row
    "night": "string",
    "day": "string",
    "created_at": "timestamp",  # UTC, microseconds; null where the source has none
    "conversation_id": "string",  # null where the source has none
    "turn": "int64",  # from 1 within a conversation
    "subject_id": "string",  # the person, for erasure
    "text": "string",
    "label": "string",
    "reply": "string",
    "attributes": "string",  # JSON object of the columns that the use case does not map
}
_EXAMPLE = {
    "example_id": "string",  # hash of prompt, response and label
    "group_id": "string",  # conversation, user or near-duplicate cluster: the unit of the split
    "subject_id": "string",
    "prompt": "string",  # the conversation so far, as the model reads it (before the system text)
    "response": "string",
    "label": "string",
    "source": "string",  # traffic | synthetic | corrected
    "parent_id": "string",  # example_id of the row a synthetic row was made from
    "split": "string",  # train | test
    "night": "string",
    "day": "string",
    "attributes": "string",
    "rows": "string",  # JSON array: row_id of every row of traffic whose text the prompt holds, its own last; synthetic: null
}
TABLES: dict[str, dict[str, str]] = {
    "traffic": _ROW | {"content": "string"},  # hash of what the row says, whatever its id and place, that finds it again
    "clean": _ROW,  # validated and scrubbed
    "files": {
        "file": "string",
        "source": "string",
        "night": "string",
        "bytes": "int64",
        "encoding": "string",
        "dialect": "string",
        "read": "int64",
        "accepted": "int64",
        "quarantined": "int64",
        "duplicates": "int64",  # of the quarantined: rows that are nothing new
        "origin": "string",  # what the use case's source is called: its path, experiment or query
        "mark": "string",  # JSON object: key, ETag, size and time of each S3 object with these bytes, to the night that fetched it
        "columns": "string",  # JSON object of column name to kind and shape; no values
    },
    "quarantine": {
        "file": "string",
        "source": "string",
        "line": "int64",  # 0 where the whole file was refused
        "night": "string",
        "step": "string",  # ingest | validate | split
        "reason": "string",  # one of a small set of snake_case words
        "detail": "string",
        "raw": "string",  # the row as it was read, cut at 10,000 characters
    },
    "pseudonyms": {  # only with privacy.key_env: what the placeholders of a row in `clean` stand for
        "night": "string",
        "conversation_id": "string",  # within which a placeholder stands for one value; null: within the row
        "row_id": "string",
        "subject_id": "string",
        "placeholder": "string",  # <NAME_1>
        "sealed": "string",  # the value, AES-256-GCM, bound to row and placeholder; the key is held outside
    },
    "examples": _EXAMPLE,
    "synthetic": _EXAMPLE  # parent_id: of `examples`, or of `synthetic` where depth is above 1
    | {"model": "string", "prompt_version": "string", "seed": "int64", "method": "string", "depth": "int64"}
    | {"shown": "string"},  # JSON array: example_id of the other rows that the model was shown, for erasure
    "labels": {  # people's answers, the newest of a row counts; kept by the night of the row, not of the answer
        "night": "string",
        "example_id": "string",
        "label": "string",  # the answer; the label as it was where a person confirmed it
        "was": "string",  # the label before the answer, null where there was none
        "by": "string",
        "at": "timestamp",
        "source": "string",  # suggest | error: which queue asked for it
    },
    "trained": {  # which rows each adapter was trained on
        "night": "string",
        "model": "string",  # content key of the adapter
        "example_id": "string",
    },
    "requests": {  # what was asked about a person; done ones are removed, the ledger keeps a salted hash
        "day": "string",  # on which it was asked
        "id": "string",
        "subject_id": "string",
        "state": "string",  # open | running | held
        "at": "timestamp",
        "why": "string",
    },
    "predictions": {
        "example_id": "string",
        "group_id": "string",
        "night": "string",
        "model": "string",  # content key of the model that answered
        "rendering": "string",  # hash of the rendered prompt's template and the generation settings
        "label": "string",  # the label that was answered; null where none was
        "response": "string",
        "prompt_tokens": "int64",
        "completion_tokens": "int64",
        "seconds": "double",
    },
    "judgements": {
        "night": "string",
        "purpose": "string",  # night: sealed rows | label, probe: calibration | anchor: the nightly check of an admission
        "judge": "string",  # the name in the use case
        "member": "string",  # hash of model, prompt and parameters
        "item": "string",  # example_id, or the item of the labelled file
        "group_id": "string",
        "side": "string",  # pointwise on sealed rows: champion | candidate; else empty
        "order": "string",  # pairwise: 12 output 1 was shown first, 21 output 2; pointwise: empty
        "content": "string",  # hash of the texts that were shown, whatever the order
        "verdict": "string",  # pairwise: 1 | 2 | tie (on sealed rows 1 is the candidate); pointwise: the grade; null: unscored
        "unscored": "string",  # why; null where scored
        "raw": "string",
    },
    "scores": {
        "example_id": "string",
        "group_id": "string",
        "night": "string",
        "metric": "string",
        "model": "string",  # content key of the model in the column candidate: tonight's, or the one in staging
        "champion": "double",  # null: missing, never zero
        "candidate": "double",
    },
    "memo": {
        "night": "string",
        "step": "string",
        "key": "string",
        "parts": "string",  # JSON object: what the key was made of, by name
        "result": "string",  # JSON
        "seconds": "double",
        "at": "timestamp",
    },
    "calls": {
        "day": "string",  # UTC date of the last use, to within `memo.FRESH_DAYS`: the partition
        "scope": "string",  # hash of the endpoint and the model
        "key": "string",  # hash of everything that the reply depends on
        "item": "string",  # id of the row that it was made from, or of several with a space between, for erasure
        "model": "string",
        "reply": "string",  # JSON
        "dollars": "string",  # what it cost, exactly
    },
}
# Of these alone Delta's log keeps statistics. What a person wrote, and who a person is, would survive an erasure there.
INDEXED = (
    *("file", "line", "night", "day", "example_id", "group_id", "step", "key"),
    *("model", "metric", "purpose", "judge", "member", "scope"),
)


def schema(table: str) -> "pa.Schema":
    """The Arrow schema of a table; raises KeyError for a table that the house does not have."""
    import pyarrow as pa

    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "timestamp": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, types[kind]) for name, kind in TABLES[table].items()])
