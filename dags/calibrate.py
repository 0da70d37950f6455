"""# Calibrate

One DAG for each folder under `config/usecases`, started by hand: every judge and safety grader of the use case judges the
rows that people have labelled, and the probes that must score at the floor; its agreement, its biases and its error rates
are measured, and it is admitted or refused.

**When.** The nightly calibrates a judge that was never calibrated, or whose admission has expired, by itself. A judge that
was **suspended** because its frozen anchors moved stays so until this DAG (or `python -m pipelines calibrate --usecase NAME`)
has measured it again: look first at what changed. Also after new labelled rows.

**Parameters.** `night`: the date from which the admission counts; `profile`: as in the nightly DAG.

**Run it again?** Yes; on the same date nothing is asked twice.

**Cost.** Two calls a labelled pair and probe (one for graders) of each member: money with a hosted endpoint.

**Where to look first.** The log, or `python -m pipelines ledger show --usecase NAME`: accuracy, kappa, error rates, and why not.

**Owner.** The `owner` in `usecase.yaml`; alerts go to the connection `nightshift_alerts` where it exists.
"""

from airflow.sdk import DAG

from pipelines.evaluation import calibrate
from pipelines.sections import UseCase
from plugins.defaults import HEAVY, NIGHT, PROFILE, check_usecases, shared
from plugins.steps import Step


def measure(usecase: UseCase) -> None:
    """One DAG of one step."""
    with DAG(f"calibrate__{usecase.name}", schedule=None, tags=["calibrate", usecase.name], doc_md=__doc__, **shared(usecase)):
        Step(work=calibrate.calibrate, given=(usecase.name, PROFILE, NIGHT), **HEAVY)


for found in check_usecases().sound:
    measure(found)
