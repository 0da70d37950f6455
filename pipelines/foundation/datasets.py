"""What a run was given, told to MLflow as dataset inputs: a name, a hash of the rows' ids and labels, the table version, and counts.

No frame of the rows is made and no text is told. The digest depends on these alone, so that the same rows at another
version of the table are the same dataset; a run that is resumed logs the same inputs, which MLflow keeps once.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.foundation import records, registry
from pipelines.foundation.step import Night

TYPES = {"string": "string", "int64": "long", "double": "double", "timestamp": "datetime"}  # of our schemas, in MLflow's words
DIGEST = 32  # characters; MLflow allows 36


class Given(NamedTuple):
    """Rows of one table at one version."""

    name: str  # of the dataset, within the use case
    table: str
    version: int
    rows: Sequence[dict]  # examples: example_id, group_id, label, night, source


def log_inputs(night: Night, run_id: str, context: str, given: Sequence[Given]) -> None:
    """Log what holds rows as inputs of a run; `context` is training or evaluation. Safe to repeat."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    inputs = []
    for one in given:
        if not one.rows:
            continue
        source = {"path": f"{night.lake.root}/{one.table}", "delta_table_version": one.version}
        columns = [{"name": name, "type": TYPES[kind], "required": False} for name, kind in records.TABLES[one.table].items()]
        dataset = Dataset(
            name=f"{night.usecase.name}.{one.name}",
            digest=digest(one.rows),
            source_type="delta_table",
            source=json.dumps(source),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(_profile(one.rows)),
        )
        inputs.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
    if inputs:
        registry.client(night).log_inputs(run_id, inputs)


def digest(rows: Sequence[dict]) -> str:
    """A hash of ids and labels, whatever the order; an id is a hash of prompt, reply and label, which a person may have corrected."""
    found = hashlib.sha256()
    for key, label in sorted((row["example_id"], row["label"] or "") for row in rows):
        found.update(f"{key}\x1f{label}\n".encode())
    return found.hexdigest()[:DIGEST]


def _profile(rows: Sequence[dict]) -> dict:
    """Counts and nights."""
    nights = [row["night"] for row in rows]
    return {
        "rows": len(rows),
        "groups": len({row["group_id"] for row in rows}),
        "labels": len({row["label"] for row in rows}),
        "sources": dict(sorted(Counter(str(row["source"]) for row in rows).items())),
        "nights": [min(nights), max(nights)],
    }
