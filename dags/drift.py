"""# Drift

One DAG for each folder under `config/usecases`: compares the night's accepted traffic with the reference window before
it (`drift.reference_days`) and writes an HTML report with figures for labels, text and the model's view of them.

**Inputs.** The table `clean`, which the nightly's `scrub` writes: run after it (the schedule says 06:00, the nightly's 02:00).
If that night was not scrubbed, this run fails and says which command to run.

**Parameters.** `night` and `profile`, as in the nightly DAG; an empty night is the day before the run.

**Run it again?** Yes; the same inputs return the stored report.

**Cost.** CPU seconds; no model is called.

**Where to look first.** The report, linked from the tab *Night* of the run. Drift promotes, blocks and pages nothing by
itself: it is a reason to look.

**Owner.** The `owner` in `usecase.yaml`; alerts go to the connection `nightshift_alerts` where it exists.
"""

from airflow.sdk import DAG

from pipelines.monitoring import drift
from pipelines.sections import UseCase
from plugins.defaults import NIGHT, PROFILE, check_usecases, shared
from plugins.steps import Step


def watch(usecase: UseCase) -> None:
    """One DAG of one step."""
    with DAG(f"drift__{usecase.name}", schedule=usecase.drift_schedule, tags=["drift", usecase.name], doc_md=__doc__, **shared(usecase)):
        Step(work=drift.drift, given=(usecase.name, PROFILE, NIGHT))


for found in check_usecases().sound:
    watch(found)
