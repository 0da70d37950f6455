"""What all our DAGs share: defaults, trigger form, pools, retries, and the one place that works out the night.

A scheduled run at 02:00 on the 21st works on the night of the 20th: in Airflow 3 the logical date of a cron run is the
moment at which it starts, and a manual run has none.
"""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule

from pipelines.errors import UserError
from pipelines.sections import UseCase
from pipelines.settings import config_folder, default_profile, load_usecase, parse_night, usecases
from plugins.notify import Alert

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

TRAINING = "training"
POOLS = {TRAINING: (1, "Steps that keep a whole machine or GPU busy: one at a time")}
PROFILE = "{{ params.profile }}"
NIGHT = "{{ night_of(dag_run, params) }}"
HEAVY = {"pool": TRAINING, "execution_timeout": datetime.timedelta(hours=6)}  # for steps that train or run the model
POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=UserError, action=RetryAction.FAIL, reason="a person must mend this: trying again would fail again")]
)


def shared(usecase: UseCase, form: dict[str, Param] | None = None) -> dict[str, Any]:
    """The arguments that every DAG of a use case is made with; `form` is its trigger form, by default night and profile."""
    return {
        "description": usecase.description,
        "catchup": False,
        "max_active_runs": 1,
        "params": form or params(),
        "render_template_as_native_obj": False,
        "user_defined_macros": {"night_of": night_of},
        "default_args": {
            "owner": usecase.owner,
            "retries": 2,
            "retry_delay": datetime.timedelta(minutes=1),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": datetime.timedelta(minutes=15),
            "retry_policy": POLICY,
            "execution_timeout": datetime.timedelta(minutes=30),
            "on_failure_callback": [Alert()],
        },
    }


def params() -> dict[str, Param]:
    """The trigger form."""
    night = (
        "The day whose traffic is worked on. Empty: the day before the run. "
        "A night that was worked on before repeats nothing that it has paid for."
    )
    profile = "Where things live and who does the work: a file under config/profiles."
    profiles = sorted(path.stem for path in config_folder().glob("profiles/*.yaml"))
    return {
        "night": Param(None, type=["null", "string"], format="date", title="Night", description_md=night),
        "profile": Param(default_profile(), type="string", enum=profiles, title="Profile", description_md=profile),
    }


def night_of(dag_run: "DagRunProtocol", params: Mapping[str, Any]) -> str:
    """The night of a run as YYYY-MM-DD: what the form says, else the day before the run's partition, logical date or start (UTC)."""
    if params.get("night"):
        return parse_night(params["night"])
    partition = getattr(dag_run, "partition_key", None)
    moment = datetime.datetime.fromisoformat(partition) if partition else dag_run.logical_date or dag_run.run_after
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC)
    return (moment - datetime.timedelta(days=1)).date().isoformat()


class Checked(NamedTuple):
    """The use cases, checked one by one, so that a wrong one stops only its own DAGs."""

    sound: list[UseCase]
    wrong: list[str]  # one message each: file, key, what is allowed


def check_usecases() -> Checked:
    """Read every folder under config/usecases."""
    checked = Checked([], [])
    for name in usecases():
        try:
            checked.sound.append(load_usecase(name))
        except UserError as error:
            checked.wrong.append(str(error))
    return checked
