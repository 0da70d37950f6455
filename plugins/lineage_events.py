"""What each step reads and writes, for OpenLineage: where Airflow's OpenLineage provider is installed and set up, every step
tells it its datasets when it starts and when it has ended.

Without the provider none of this is called, and only the functions import it. Nothing here opens the lake: the provider
asks in a fork of the task, in which the lake's threads are gone. So versions and row counts are those of the step's result.
(This file is not called openlineage.py: Airflow puts its folder on the path, where it would hide the library's package.)
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.foundation import records
from pipelines.settings import load_profile

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import OutputDataset


class Work(NamedTuple):
    """Tables of the lake that a step reads, and those that it writes with the keys of its result that count the rows."""

    reads: tuple[str, ...]
    writes: Mapping[str, tuple[str, ...]]


STEPS = {
    "ingest": Work((), {"traffic": ("accepted",), "files": (), "quarantine": ("quarantined",)}),
    "validate": Work(("traffic",), {"quarantine": ("quarantined",)}),
    "scrub": Work(("traffic", "quarantine"), {"clean": ("rows",), "pseudonyms": ()}),
    "split": Work(("clean", "examples", "labels"), {"examples": ("train", "test"), "quarantine": ("quarantined",)}),
    "synthesize": Work(("examples", "synthetic", "labels"), {"synthetic": ("rows",)}),
    "finetune": Work(("examples", "synthetic", "labels"), {"trained": ("rows",)}),
    "admit": Work(("judgements",), {"judgements": ()}),
    "evaluate": Work(("examples", "predictions", "labels"), {"predictions": (), "judgements": (), "scores": ()}),
    "safety": Work(("examples", "predictions"), {"predictions": (), "judgements": (), "scores": ()}),
    "gate": Work(("scores", "examples", "predictions"), {}),
    "promote": Work((), {}),
    "publish_card": Work(("files", "scores", "examples", "predictions", "judgements"), {}),
    "drift": Work(("clean",), {}),
}


def describe(step: str, given: Sequence[str], result: Mapping[str, object]) -> "OperatorLineage | None":
    """The step's datasets; `given` is use case, profile and night, `result` empty before the end. None: no step of the night."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from attrs import define
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import RunFacet

    if step not in STEPS:
        return None

    @define
    class NightRunFacet(RunFacet):
        """The night that was worked on, and the content key of the step's result (empty before the end)."""

        night: str
        step: str
        key: str

    usecase, profile, night = given
    lake, work = load_profile(profile).lake, STEPS[step]
    namespace = lake if "://" in lake else "file"
    about = NightRunFacet(night=night, step=step, key=str(result.get("key", "")))
    inputs = [InputDataset(namespace, f"{usecase}.{table}", facets=_facets(table, None)) for table in work.reads]
    outputs = [
        _written(OutputDataset(namespace, f"{usecase}.{table}", facets=_facets(table, result.get(table))), counts, result)
        for table, counts in work.writes.items()
        if not result or type(result.get(table)) is int
    ]
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={"nightshift": about})


def _facets(table: str, version: object) -> dict:
    """Columns, and the version in the lake where it is known."""
    from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

    fields = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in records.TABLES[table].items()]
    found = {"schema": schema_dataset.SchemaDatasetFacet(fields)}
    if version is not None:
        found["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(str(version))
    return found


def _written(dataset: "OutputDataset", counts: tuple[str, ...], result: Mapping[str, object]) -> "OutputDataset":
    """With the number of rows that the step wrote for its night, where its result counts them."""
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    rows = [result[name] for name in counts if type(result.get(name)) is int]
    if counts and len(rows) == len(counts):
        dataset.outputFacets["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(rowCount=sum(rows))
    return dataset
