"""# Nightly

One DAG for each folder under `config/usecases`: takes the day's traffic, validates it, scrubs it, splits it so that
nothing leaks, adds synthetic rows, fine-tunes, compares the candidate with the champion, and promotes it in the MLflow
registry **only when the evidence says so**.

**Inputs.** The sources named in `usecase.yaml`. Each step works on the tables that the step before it wrote, by version.

**Parameters.** `night`: the day whose traffic is worked on; empty means the day before the run (a scheduled run at
02:00 on the 21st works on the 20th; a backfill run of the logical date 21st too). `profile`: a file under
`config/profiles`: where things live and who does the work.

**Run it again?** Yes, at any time. A step whose inputs, settings and code are the same returns its stored result and
does nothing; a night that was killed goes on where it stopped. To resume a failed run: mend what the message says,
then *Clear* the failed task (or start a new run for the same night).

**When it fails.** The task that failed tells why in the last lines of its log. A wrong setting or bad data (UserError,
NightStopped) is not tried again: the message names the file and the key, or the rule that the data broke. Anything
else is tried twice more, after 1 and 2 minutes. A failed night changes no champion: nothing is promoted before `gate`.

**Approval.** With `approval: required` in `usecase.yaml` the task `approve` waits for a person (Required Actions, or the
REST API) and shows the verdict table, what flipped and the decision page. No answer within `approval_hours`, a
rejection, and with `four_eyes` an approval by whoever triggered the run, all promote nothing. Who, when and why is in the ledger.

**Where to look first.** The tab *Night* of the run: rows read and refused, the verdict with its figures, the model
card. Then the log of the first red task. REJECT and INSUFFICIENT_DATA are verdicts, not failures.

**Cost.** With the local profile nothing but CPU time: minutes for the sample, most of it in `finetune` and `evaluate`.
`synthesize`, `admit`, `evaluate` and `safety` call a model. Each reply is kept, so that a retry, a *Clear* and a backfill ask
for none a second time; the log of a task says *memo hit* or what was asked and spent, and so does the note of the run.

**Budget.** Under `budget` in `usecase.yaml` (a call, a run of a step, a night, a month, in all), at the profile's `prices`.
Money is reserved before a call is sent. At a cap a step keeps what it has and the night is *partial*: the gate treats what
is missing as missing. Raise the cap and run the night again: it asks for the rest alone. Alerts come at 50, 80 and 100 %.
`python -m pipelines spend --usecase NAME --by night` tells what was spent.

**Batches.** With `batch: true` on an endpoint a step hands its questions to the provider and waits as *deferred*, for up to
`batch_hours`, without a worker; the triggerer needs the variable that holds the API key.

**Backfill.** `make backfill USECASE=NAME FROM=2026-11-07 TO=2026-11-20`: night after night, each on its own day's data. The
task `turn` keeps nights in order however a backfill was made: a night begins when no earlier one is under way. A night that
comes late all the same moves nothing where a later night has promoted already.

**Owner.** The `owner` in `usecase.yaml`; alerts go to the connection `nightshift_alerts` where it exists.
"""

from airflow.sdk import DAG, chain

from pipelines.data import ingest, scrub, split, synthesize, validate
from pipelines.evaluation import admit, evaluate, safety
from pipelines.release import card, gate, promote
from pipelines.sections import UseCase
from pipelines.tuning import finetune
from plugins.approval import Approve, form
from plugins.defaults import HEAVY, NIGHT, PROFILE, check_usecases, shared
from plugins.steps import Step
from plugins.turn import Turn


def nightly(usecase: UseCase) -> None:
    """One DAG; the order is the night's, each step reads what the one before it recorded."""
    given = (usecase.name, PROFILE, NIGHT)
    dag_id, arguments = f"nightly__{usecase.name}", shared(usecase, form(usecase))
    with DAG(dag_id, schedule=usecase.schedule, tags=["nightly", usecase.name], doc_md=__doc__, **arguments):
        chain(
            Turn(),
            Step(work=ingest.ingest, given=given),
            Step(work=validate.validate, given=given),
            Step(work=scrub.scrub, given=given),
            Step(work=split.split, given=given),
            Step(work=synthesize.synthesize, given=given, **HEAVY),
            Step(work=finetune.finetune, given=given, **HEAVY),
            Step(work=admit.admit, given=given, **HEAVY),
            Step(work=evaluate.evaluate, given=given, **HEAVY),
            Step(work=safety.safety, given=given, **HEAVY),
            Step(work=gate.gate, given=given),
            *([Approve(usecase=usecase, given=given)] if usecase.approval == "required" else []),
            Step(work=promote.promote, given=given),
            Step(work=card.publish_card, given=given),
        )


for found in check_usecases().sound:
    nightly(found)
