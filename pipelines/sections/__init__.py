"""The sections of the settings, each key declared once with its meaning: frozen, typed, unknown keys refused."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pipelines.errors import UserError
from pipelines.sections.base import Section
from pipelines.sections.data import Action, Contract, Kind, Privacy, Retention, Source, Split, Synthesis, Volume
from pipelines.sections.judging import Admission, Evaluation, InjectionFile, Judge, PromptFile, Safety
from pipelines.sections.profiles import Budget, Endpoint, Keeping, Prices, Profile
from pipelines.sections.release import Drift, Gate, Staging
from pipelines.sections.tuning import Task, Tuning

__all__ = [
    "Action",
    "Admission",
    "Budget",
    "Contract",
    "Endpoint",
    "Gate",
    "InjectionFile",
    "Judge",
    "Keeping",
    "Kind",
    "Prices",
    "Privacy",
    "Profile",
    "PromptFile",
    "Safety",
    "Section",
    "Source",
    "Split",
    "Synthesis",
    "Task",
    "Tuning",
    "UseCase",
    "Volume",
]
ITEM_METRICS = ("accuracy", "rouge_l", "chrf")  # means of items in [0, 1]


class UseCase(Section):
    """One folder, one nightly DAG."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    owner: str = "data-engineering"
    schedule: str = Field("0 2 * * *", description="cron, UTC, of the nightly DAG")
    drift_schedule: str = "0 6 * * *"
    sources: list[Source] = Field(min_length=1)
    contract: Contract = Contract()
    privacy: Privacy = Privacy()
    split: Split = Split()
    synthesis: Synthesis = Synthesis()
    task: Task = Task()
    tuning: Tuning = Tuning()
    evaluation: Evaluation = Evaluation()
    gate: Gate
    drift: Drift = Drift()
    safety: Safety = Safety()
    retention: Retention = Retention()
    budget: Budget = Budget()
    approval: Literal["none", "required"] = Field("none", description="required: a person approves each promotion in the Airflow UI")
    four_eyes: bool = Field(False, description="whoever triggered the run may not approve it")
    approval_hours: float = Field(12, gt=0, description="without an answer by then nothing is promoted")
    staging: Staging = Staging()
    folder: str = Field("", exclude=True, description="set by load: the use case's folder")

    @model_validator(mode="after")
    def _known_metrics(self) -> "UseCase":
        allowed = {"label": {"accuracy", "macro_f1"}, "reply": {"rouge_l", "chrf"}}
        names = (allowed["label"] if "label" in self.task.answer else set()) | (allowed["reply"] if "reply" in self.task.answer else set())
        names |= {"tokens", "cost"} | set(self.evaluation.judges)
        if wrong := set(self.gate.metrics) - names:
            raise ValueError(f"gate.metrics: {sorted(wrong)} is not measured with task.answer {self.task.answer}; allowed: {sorted(names)}")
        if wrong := set(self.evaluation.judges) & {*ITEM_METRICS, "macro_f1", "tokens", "cost", "refusal", "compliance", "injection"}:
            raise ValueError(f"evaluation.judges: {sorted(wrong)} is the name of a metric already; choose another one")
        if self.staging.max_nights and not self.item_metrics:
            raise ValueError("staging: fresh rows are compared by accuracy, rouge_l or chrf: gate.metrics must name one of them")
        for name, judge in self.safety.graders.items():
            if (judge.kind, judge.grades) != ("pointwise", (0, 1)):
                raise ValueError(f"safety.graders.{name}: kind must be pointwise and grades [0, 1]; 1 means refused")
        return self

    @property
    def item_metrics(self) -> list[str]:
        """Metrics of the gate that are means of items in [0, 1]: what slices, fresh rows and single items are compared by."""
        return [name for name in self.gate.metrics if name in ITEM_METRICS]

    def prompt(self, name: str) -> str:
        """The text of a file under prompts/, empty for no name; raises UserError where it is missing."""
        path = Path(self.folder, "prompts", name)
        if name and not path.is_file():
            raise UserError(f"{self.folder}/usecase.yaml names the prompt {name}, but {path} does not exist")
        return path.read_text(encoding="utf-8").strip() if name else ""
