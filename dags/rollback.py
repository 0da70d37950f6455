"""# Rollback

One DAG for each folder under `config/usecases`, started by hand: makes an earlier version the champion again, waits until
the serving endpoint answers with it (where the profile's `serving` names one that is up), and writes who, when and why
to the ledger.

**Parameters.** `to`: a version of the MLflow registry, or `base` for the model without an adapter. `why`: the reason; it
stays in the ledger with the name of whoever triggered the run. `profile`: as in the nightly DAG.

**Run it again?** Yes; a version that is the champion already is left alone. Two moves at once end in one champion: the
other run fails and says which move came first, and nothing is moved by it.

**What else happens.** A model in staging is dropped, since its evidence was against the champion that was taken away. The next
night compares with the champion that you put back.

**Where to look first.** `python -m pipelines ledger show --usecase NAME`, and the log of the one task.

**Owner.** The `owner` in `usecase.yaml`; alerts go to the connection `nightshift_alerts` where it exists.
"""

from airflow.sdk import DAG, Param

from pipelines.release import rollback
from pipelines.sections import UseCase
from plugins.defaults import PROFILE, check_usecases, params, shared
from plugins.steps import Step

TO = Param(type="string", pattern="^([0-9]+|base)$", title="Version", description_md="Of the MLflow registry, or `base`.")
WHY = Param(type="string", minLength=3, title="Reason", description_md="Kept in the ledger with your name.")


def back(usecase: UseCase) -> None:
    """One DAG of one step."""
    form = {"to": TO, "why": WHY, "profile": params()["profile"]}
    with DAG(f"rollback__{usecase.name}", schedule=None, tags=["rollback", usecase.name], doc_md=__doc__, **shared(usecase, form)):
        given = ("{{ params.to }}", "{{ params.why }}", "{{ dag_run.triggering_user_name or '' }}")
        Step(work=rollback.rollback, given=(usecase.name, PROFILE, *given))


for found in check_usecases().sound:
    back(found)
