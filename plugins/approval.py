"""The task `approve`: Airflow's human-in-the-loop question with the verdict in its body, answered in the UI or over REST.

Whatever comes back is written to the ledger (`pipelines.release.approval`), and the task succeeds: `promote` reads the
ledger and fails closed. Where the verdict promotes nothing, nobody is asked. A run that no scheduler drives can wait for
nobody, so the parameter `approval` of the trigger form may bring the answer along; it counts as the triggering user's own.
"""

import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.timezone import utcnow

from pipelines.release import approval
from pipelines.sections import UseCase
from plugins.defaults import params
from plugins.notify import Question

if TYPE_CHECKING:
    from airflow.sdk import Context


def form(usecase: UseCase) -> dict[str, Param]:
    """The nightly's trigger form: with `approval: required` it may bring the answer along."""
    if usecase.approval == "none":
        return params()
    text = (
        "`ask`: the run waits for a person under Required Actions. Approve and Reject count as the answer of whoever triggers the run, "
        "which `four_eyes` refuses. `unattended`: nobody is asked and nothing is promoted."
    )
    answers = [approval.ASK, approval.APPROVE, approval.REJECT, approval.UNATTENDED]
    return params() | {"approval": Param(approval.ASK, type="string", enum=answers, title="Approval", description_md=text)}


class Approve(HITLOperator):
    """Ask a person whether tonight's verdict may move the champion."""

    template_fields = (*HITLOperator.template_fields, "given")

    def __init__(self, *, usecase: UseCase, given: tuple[str, str, str], **kwargs: Any) -> None:
        form = ParamsDict(kwargs.pop("params", {}))  # the DAG's own; the operator shows its task's only
        text = "Kept in the ledger with your name and the time."
        form["reason"] = Param("", type="string", title="Reason", description_md=text, source="task")
        super().__init__(
            task_id="approve",
            subject=f"{usecase.name}: promote what the gate let through?",
            options=[approval.APPROVE, approval.REJECT],
            defaults=approval.REJECT,
            params=form,
            response_timeout=datetime.timedelta(hours=usecase.approval_hours),
            execution_timeout=None,
            notifiers=[Question()],
            **kwargs,
        )
        self.given = given

    def execute(self, context: "Context") -> dict | None:
        """Ask, unless there is nothing to ask about or the run brought its answer."""
        from pipelines.release.decision.brief import brief

        if not approval.wanted(*self.given):
            self.log.info("nothing to approve: the verdict moves nothing")
            return None
        answer = context["params"].get("approval") or approval.ASK
        if answer == approval.ASK:
            self.body = brief(*self.given)
            return super().execute(context)
        approver = "" if answer == approval.UNATTENDED else context["dag_run"].triggering_user_name or "the run's configuration"
        return self._record(context, approval.Answer(answer, approver, utcnow().isoformat(), "given with the run", _trigger(context)))

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> dict:
        """Write the answer to the ledger; a time-out answers with nobody's name."""
        found = super().execute_complete(context, event)
        user = found["responded_by_user"] or {}
        [chosen] = found["chosen_options"] or [""]
        reason = str((found["params_input"] or {}).get("reason") or "")
        answer = approval.Answer(
            chosen, user.get("name") or user.get("id") or "", found["responded_at"].isoformat(), reason, _trigger(context)
        )
        return self._record(context, answer)

    def _record(self, context: "Context", answer: approval.Answer) -> dict:
        found = approval.record(*self.given, answer)
        self.log.info("%s: %s", "approved" if found["approved"] else "not approved", found["why"])
        return {"approved": found["approved"], "why": found["why"], "approver": found["approver"]}


def _trigger(context: "Context") -> str:
    return context["dag_run"].triggering_user_name or ""
