"""# Erasure

One DAG for each folder under `config/usecases`, every day: works on the table `requests` of the use case, and removes each
person in it from the source files, every table with its history, the replies that are kept, what was synthesised, reports,
logs and MLflow's artifacts. Adapters that were trained on their rows are tagged `contains_erased_data` and never promoted.

**A request** is a row of the Delta table `requests` (`day, id, subject_id, state: open, at, why`), which any engine may
append, or `python -m pipelines erase --usecase NAME --subject ID --request`. It is not given to the run as a parameter, for
Airflow would keep the id. A legal hold (`python -m pipelines hold`) wins: the request waits, state `held`.

**The retrain.** Where the champion was trained on such rows, every run raises an alert until it is replaced, with the day by
which it must be (`retention.retrain_days`), and the nightly DAG is started for the newest night: it trains without them, and the
gate asks of its candidate only that it is nowhere worse.

**Run it again?** Yes, at any time. One that was killed is taken up. It waits for the steps that run, and they wait for it.

**Where to look first.** The certificate, `reports/NAME/erasures/ID.json` in the state folder: what was found, removed, and
could not be reached; `python -m pipelines ledger show --usecase NAME`.

**Owner.** The `owner` in `usecase.yaml`; alerts go to the connection `nightshift_alerts` where it exists.
"""

from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, chain

from pipelines.sections import UseCase
from pipelines.system import erase
from plugins.defaults import PROFILE, check_usecases, params, shared
from plugins.steps import Step


def forget(usecase: UseCase) -> None:
    """One step, and the night that trains anew where the champion has to be replaced."""
    form = {"profile": params()["profile"]}
    dag_id, tags = f"erasure__{usecase.name}", ["erasure", usecase.name]
    with DAG(dag_id, schedule="0 4 * * *", tags=tags, doc_md=__doc__, **shared(usecase, form)):
        erase_requested = Step(work=erase.erase_requested, given=(usecase.name, PROFILE))
        retrain_needed = ShortCircuitOperator(task_id="retrain_needed", python_callable=named, op_args=[said("retrain")])
        retrain = TriggerDagRunOperator(
            task_id="retrain",
            trigger_dag_id=f"nightly__{usecase.name}",
            trigger_run_id=f"retrain__{said('erasure')}",
            conf={"night": said("retrain"), "profile": PROFILE},
            skip_when_already_exists=True,
        )
        chain(erase_requested, retrain_needed, retrain)


def named(night: str) -> bool:
    """Whether there is a night to run anew."""
    return night != ""


def said(key: str) -> str:
    """A part of what the erasure gave back."""
    return f"{{{{ ti.xcom_pull(task_ids='erase_requested')['{key}'] }}}}"


for found in check_usecases().sound:
    forget(found)
