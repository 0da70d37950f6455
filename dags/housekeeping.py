"""# Housekeeping

One DAG for each folder under `config/usecases`: keeps what was paid for within the bounds of the profile's `memo`
(`max_days`, `max_megabytes`), deletes rows whose time is up (`retention.days` of the use case), joins small files and takes
versions off the disk that are older than 30 days (a day, where a table has a limit).

**What is lost.** Replies of models that nothing asked for in `max_days`: should the same question be asked again, it is paid
for again. Rows of the tables that `retention.days` names, but for those under a legal hold. No model, verdict or ledger
entry is touched, and each night keeps the results that it stands on.

**Run it again?** Yes, at any time, also beside a night.

**Cost.** Seconds; no model is called.

**Where to look first.** The log tells the megabytes before and after; `python -m pipelines memo stats --usecase NAME` tells what is kept.

**Owner.** The `owner` in `usecase.yaml`; alerts go to the connection `nightshift_alerts` where it exists.
"""

from airflow.sdk import DAG

from pipelines.sections import UseCase
from pipelines.system import housekeeping
from plugins.defaults import PROFILE, check_usecases, params, shared
from plugins.steps import Step


def keep(usecase: UseCase) -> None:
    """One DAG of one step."""
    form = {"profile": params()["profile"]}
    dag_id, tags = f"housekeeping__{usecase.name}", ["housekeeping", usecase.name]
    with DAG(dag_id, schedule="30 5 * * *", tags=tags, doc_md=__doc__, **shared(usecase, form)):
        Step(work=housekeeping.tidy, given=(usecase.name, PROFILE))


for found in check_usecases().sound:
    keep(found)
