"""The sections of the settings, each key declared once with its meaning: frozen, typed, unknown keys refused."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipelines import contradictions
from pipelines.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
ITEM_METRICS = ("accuracy", "rouge_l", "chrf")  # means of items in [0, 1]


class Section(BaseModel):
    """A frozen part of the settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoint(Section):
    """A model that answers: the embedded one, or any OpenAI-compatible server."""

    kind: Literal["embedded", "openai"] = "embedded"
    url: str = Field("", description="base URL that ends in /v1 (kind openai)")
    model: str = Field("", description="model name sent to the server (kind openai)")
    key_env: str = Field("", description="environment variable that holds the API key; empty: no key is sent")
    in_flight: int = Field(8, ge=1, description="requests under way at once")
    timeout_seconds: float = Field(120, gt=0, description="for one try")
    attempts: int = Field(5, ge=1, description="tries for one request")
    deadline_seconds: float = Field(600, gt=0, description="for one request with all its tries and waits")
    requests_a_minute: int = Field(0, ge=0, description="0: what the server's x-ratelimit headers say")
    tokens_a_minute: int = Field(0, ge=0, description="0: what the server's x-ratelimit headers say")
    structured: bool = Field(False, description="the server takes response_format json_schema: judges then answer in JSON (kind openai)")
    logprobs: bool = Field(False, description="ask for the log-probability of each token written (kind openai)")
    idempotent: bool = Field(False, description="the server honours Idempotency-Key: a repeated key is answered again, not billed again")
    batch: bool = Field(False, description="through the server's /batches: cheaper, answered within batch_hours (kind openai)")
    batch_hours: int = Field(24, ge=1, description="completion window of a batch")


Dollars = Annotated[Decimal, Field(ge=0)]


class Prices(Section):
    """What a model costs, in US dollars; what is not named costs nothing."""

    input: Dollars = Field(Decimal(0), description="a million prompt tokens")
    cached: Dollars | None = Field(None, description="a million prompt tokens that the server had seen before; none: as input")
    output: Dollars = Field(Decimal(0), description="a million tokens written")
    batch: Dollars = Field(Decimal("0.5"), le=1, description="share of these prices that a batch costs")
    training: Dollars = Field(Decimal(0), description="a million training tokens")
    second: Dollars = Field(Decimal(0), description="a second of the machine that trains it")


class Budget(Section):
    """The most that may be spent, in US dollars; reserved before it is spent. None: no cap."""

    call: Dollars | None = Field(None, description="one call to a model")
    run: Dollars | None = Field(None, description="one run of one step")
    night: Dollars | None = Field(None, description="all runs of all steps of one night")
    month: Dollars | None = Field(None, description="a calendar month (UTC)")
    total: Dollars | None = Field(None, description="the use case, ever")


class Keeping(Section):
    """How much of what was paid for is kept, for a use case."""

    max_days: int = Field(90, ge=1, description="a reply that was not used for so long is forgotten")
    max_megabytes: int = Field(2_000, ge=1, description="above it, what was not used for longest is forgotten")


class Profile(Section):
    """Where things live and who does the work."""

    state: str = Field(description="folder of everything that the embedded default writes; relative to the project")
    lake: str = Field(description="folder or s3:// URI of the Delta tables")
    mlflow: str = Field(description="MLflow tracking and registry URI")
    artifacts: str = Field("", description="MLflow artifact root for new experiments; empty: the server decides")
    data_folders: list[str] = Field([], description="folders searched for public data sets before their URL is asked")
    endpoints: dict[str, Endpoint] = Field(description="name to endpoint; roles in a use case refer to these names")
    prices: dict[str, Prices] = Field({}, description="by the model's name; SmolLM2-135M-Instruct is the embedded one")
    memo: Keeping = Keeping()
    serving: str = Field(
        "", description="URL of the served champion; a rollback waits until it answers with the new one; empty: it does not wait"
    )


class Source(Section):
    """Exactly one of: files (a folder, a glob, one file, an s3:// prefix, a public file), MLflow traces, a query."""

    path: str = Field("", description="relative to the use case's folder, absolute, or s3://; globs allowed")
    mlflow: str = Field("", description="name of an experiment at the profile's mlflow: each night takes its traces")
    sql: str = Field("", description="query; :night and :next are the dates of the night and of the next one; order it by a key")
    connection: str = Field("", description="name of the Airflow connection that the query runs through")
    url: str = Field("", description="where the file is fetched from when no data folder holds it")
    sha256: str = Field("", description="checksum that the file must have")
    columns: dict[str, str] = Field({}, description="our column to the source's column")

    @model_validator(mode="after")
    def _one(self) -> "Source":
        given = [name for name in ("path", "mlflow", "sql") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"a source has exactly one of path, mlflow and sql, found {' and '.join(given) or 'none of them'}")
        if bool(self.sql) != bool(self.connection):
            raise ValueError("sql and connection belong together: the query, and the name of the Airflow connection that it runs through")
        if wrong := [name for name in ("url", "sha256") if getattr(self, name) and not self.path]:
            raise ValueError(f"{wrong[0]} belongs to a file that path names, not to {given[0]}")
        return self

    @property
    def origin(self) -> str:
        """What the source is called: its path, its experiment, or its connection."""
        return self.path or (f"mlflow:{self.mlflow}" if self.mlflow else f"sql:{self.connection}")


class Volume(Section):
    """Tonight's accepted rows against the median of the last nights that were validated; not judged before 3 of them."""

    nights: int = Field(7, ge=3, description="last nights that the median is of")
    min_share: float = Field(0.5, ge=0, description="share of the median below which the night stops")
    max_share: float = Field(2.0, gt=0, description="share of the median above which the night stops")


class Contract(Section):
    """What the data must be, the whole of contract.yaml. A rule is an expectation of Great Expectations 1.x: type, kwargs, meta.reason."""

    labels: list[str] = Field([], description="the closed label set")
    max_text_bytes: int = Field(20_000, ge=1, description="a longer cell is quarantined at ingest")
    rows: list[dict[str, Any]] = Field([], description="expectations whose failing rows go to quarantine")
    table: list[dict[str, Any]] = Field([], description="expectations whose failure stops the night")
    languages: list[str] = Field([], description="ISO 639 codes; a text surely in another language is quarantined; empty: not checked")
    min_words: int = Field(4, ge=1, description="a shorter text has no language that one could be sure of")
    min_tokens: int = Field(0, ge=0, description="of the text, by the embedded model's tokenizer; fewer: quarantined")
    max_tokens: int = Field(0, ge=0, description="of the text; more: quarantined; 0: not checked")
    min_rows: int = Field(1, ge=0, description="rows of the night, below which the night stops")
    max_quarantine_share: Share = Field(0.2, description="share of rows refused, duplicates aside, above which the night stops")
    max_age_days: int = Field(0, ge=0, description="newest row at most this old at the night; 0: not checked")
    volume: Volume | None = Field(None, description="bounds on the night's rows by those of the nights before; none: not checked")

    @model_validator(mode="after")
    def _consistent(self) -> "Contract":
        if found := contradictions.find(self.model_dump()):
            raise ValueError("\n".join(found))
        return self


Kind = Literal["EMAIL", "PHONE", "IBAN", "CARD", "ACCOUNT", "SSN", "IP", "NAME"]
Action = Literal["keep", "pseudonym", "type", "drop"]  # the text as it is, <NAME_1>, <NAME>, nothing: each hides more than the one before
ACTIONS: tuple[Action, ...] = ("keep", "pseudonym", "type", "drop")


class Policies(Section):
    """What becomes of a finding, by what the text is for; of two rules the one that names more counts, `*` stands for the others."""

    train: dict[Literal["*", "text", "reply", "attributes"], dict[Literal["*"] | Kind, Action]] = Field(
        {}, description="rows that models learn from, by field; not named: pseudonym"
    )
    hosted: dict[Literal["*"] | Kind, Action] = Field({}, description="prompts to endpoints of kind openai; not named: type")
    report: dict[Literal["*"] | Kind, Action] = Field({}, description="rows quoted on pages for people; not named: type")


class Privacy(Section):
    """What is replaced by a typed placeholder before anything is trained on or sent out."""

    entities: list[Kind] = ["EMAIL", "PHONE", "IBAN", "CARD", "ACCOUNT", "SSN", "IP", "NAME"]
    phone_regions: list[str] = Field(["GB", "US", "DE"], description="regions in which a number without + is read")
    min_score: float = Field(0.4, description="Presidio's score below which a finding is ignored")
    policies: Policies = Policies()
    key_env: str = Field("", description="environment variable that holds the key which opens pseudonyms again; empty: nothing is kept")

    @model_validator(mode="after")
    def _never_weaker(self) -> "Privacy":
        """What leaves the house, or is shown, hides at least what training hides."""
        for purpose in ("hosted", "report"):
            for kind, action in getattr(self.policies, purpose).items():
                learnt = [self._train(field, each) for field in ("text", "reply") for each in (self.entities if kind == "*" else [kind])]
                if stricter := [one for one in learnt if ACTIONS.index(one) > ACTIONS.index(action)]:
                    raise ValueError(f"policies.{purpose}: {kind}: {action} shows more than policies.train does, which says {stricter[0]}")
        return self

    def action(self, purpose: Literal["train", "hosted", "report"], kind: Kind, field: str = "") -> Action:
        """What becomes of a finding; `field` (text, reply, attributes) is for train, as prompts and pages mix them."""
        if purpose == "train":
            return self._train(field, kind)
        rules = getattr(self.policies, purpose)
        wanted = rules.get(kind, rules.get("*", "type"))
        return max(wanted, *(self._train(field, kind) for field in ("text", "reply")), key=ACTIONS.index)

    def _train(self, field: str, kind: Kind) -> Action:
        rules = self.policies.train
        named = (rules.get(one, {}).get(other) for one in (field, "*") for other in (kind, "*"))
        return next((action for action in named if action), "pseudonym")


class Split(Section):
    """How rows are kept apart for good."""

    test_share: Share = Field(0.2, description="share of groups that is sealed")
    group_by: list[Literal["conversation", "subject", "template", "row"]] = Field(
        ["conversation"], min_length=1, description="one or several: rows that share any of these are one group; row: none"
    )
    near_duplicate: Share = Field(0.8, description="Jaccard similarity of word shingles from which two rows are one group")
    context_turns: int = Field(1, ge=0, description="earlier turns of the conversation that the prompt holds")
    off_limits: list[str] = Field([], description="files (CSV, JSON lines, Parquet) whose texts may never be trained on, say a public test set")
    semantic: Share = Field(0, description="cosine of sentence vectors from which two rows of one label are one group; 0: off")

    @field_validator("group_by", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        """A single word is a list of one."""
        return [value] if isinstance(value, str) else value


Written = Literal["paraphrase", "gap_fill", "back_paraphrase", "persona", "hard_negative"]  # by a model
Altered = Literal["typos", "casing", "noise"]  # without one


class Synthesis(Section):
    """Rows that are made from train rows, by a model or without one; absent: none."""

    rows_per_night: int = Field(0, ge=0, description="0: no synthesis")
    methods: dict[Written | Altered, Annotated[float, Field(gt=0)]] = Field(
        {}, description="method to its weight in rows_per_night; empty: gap_fill as far as labels are rare, then paraphrase"
    )
    max_depth: int = Field(2, ge=1, le=3, description="1: a child of a real row; 2: a child of such a child, by back_paraphrase")
    rare_below: int = Field(20, description="gap_fill writes for labels with fewer train rows")
    endpoint: str = "embedded"
    prompt: str = Field("", description="file under prompts/ of every method that prompts names no file for")
    prompts: dict[Written, str] = Field({}, description="method to its file under prompts/")
    personas: str = Field("", description="file under prompts/, a `name: description` a line; empty: ten neutral ones")
    edits: float = Field(0.1, gt=0, le=0.5, description="share of the words that typos and noise touch, one at least")
    temperature: float = 0.8
    min_words: int = 3
    max_words: int = 60
    max_similarity: Share = Field(0.9, description="to the parent or any other row; above it, a near-copy")
    min_real_share: Share = Field(0.7, description="of the training rows")
    seed: int = 0


class Task(Section):
    """What the model reads and writes: one rendering for training, evaluation and serving."""

    system: str = Field("", description="file under prompts/ with the system text; empty: an empty system text")
    answer: Literal["label", "reply", "label_reply"] = Field("label_reply", description="what a completion holds, label on the first line")
    label_words: bool = Field(True, description="write a label as words (card arrival) rather than its name (card_arrival)")
    max_new_tokens: int = 64


class Tuning(Section):
    """LoRA supervised fine-tuning: which rows, and how the adapter is trained."""

    max_rows: int = Field(0, ge=0, description="newest training rows used; 0: all")
    rows_per_label: int = Field(0, ge=0, description="real rows a label, chosen by hash; 0: all")
    epochs: float = Field(2, gt=0, description="passes over the rows; a fraction ends within a pass")
    learning_rate: float = Field(1e-3, gt=0, description="peak step size of AdamW")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="how the learning rate falls to 0 afterwards")
    label_weight: float = Field(1.0, gt=0, description="weight of a label's tokens in the loss where a reply's tokens weigh 1")
    rank: int = Field(32, ge=1, description="rank of the adapter")
    alpha: float = Field(32, gt=0, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inner activations dropped in training")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="linears with an adapter, say [q_proj, v_proj]"
    )
    frozen_layers: int = Field(0, ge=0, description="lower layers without an adapter; they run once, not every epoch")
    batch_rows: int = Field(32, ge=1, description="rows a step")
    max_tokens: int = Field(256, ge=2, description="a longer row loses the beginning of its prompt")
    seed: int = Field(0, description="order of the rows, first weights, dropout")
    checkpoint_seconds: float = Field(30, ge=0, description="time between two checkpoints")


class Admission(Section):
    """What a judge must show against people's verdicts before the gate reads it; bounds are one-sided 95 % ones."""

    min_items: int = Field(40, ge=1, description="labelled items")
    min_accuracy: Share = Field(0.6, description="lower bound; unscored counts as wrong")
    min_kappa: float = Field(0.3, description="lower bound of Cohen's kappa, quadratic weights for grades")
    min_rate: Share = Field(0.6, description="lower bound of the true positive and of the true negative rate")
    min_order_consistency: Share = Field(0.7, description="share of pairs with the same verdict in both orders")
    max_position_bias: Share = Field(0.15, description="distance from 1/2 of the share of verdicts for the answer shown first")
    max_length_correlation: Share = Field(0.3, description="distance of the verdicts' rank correlation with length from the labels' own")
    max_unscored: Share = Field(0.05, description="share of the judgements without a verdict")
    expires_days: int = Field(90, ge=1, description="nights after which an admission has to be earned again")
    anchors: int = Field(10, ge=0, description="labelled items that are judged again every night; 0: none")
    anchor_tolerance: Share = Field(0.1, description="share of the anchors whose verdict may change before the admission is suspended")


class Judge(Section):
    """A judge, or a panel that decides by majority: one prompt, asked of every member; advice until it is admitted."""

    kind: Literal["pairwise", "pointwise"] = Field("pairwise", description="two answers compared in both orders, or one answer graded")
    members: list[str] = Field(["embedded"], description="endpoints of the profile; `matcher` is the string matcher for refusals")
    prompt: str = Field("", description="file under prompts/")
    labelled: str = Field(
        "",
        description="JSONL in the use case's folder with people's verdicts: item, prompt, reference, and output_1, "
        "output_2, winner (1, 2 or tie), or answer, grade",
    )
    grades: tuple[int, int] = Field((1, 5), description="lowest and highest grade (pointwise)")
    pass_from: int = Field(4, description="grade from which an answer passes (pointwise)")
    max_items: int = Field(40, ge=0, description="items judged a night")
    max_new_tokens: int = Field(256, ge=4, description="of one judgement; the embedded judge names its verdict first, so 12 do")
    max_unscored: Share = Field(0.2, description="share of the night's items without a verdict, above which the gate does not decide on it")
    admission: Admission = Admission()

    @model_validator(mode="after")
    def _scale(self) -> "Judge":
        if not self.members:
            raise ValueError("members must name at least one endpoint of the profile")
        if not self.grades[0] < self.pass_from <= self.grades[1]:
            raise ValueError(
                f"pass_from {self.pass_from} must lie above the lowest and not above the highest of grades {list(self.grades)}"
            )
        return self


class Evaluation(Section):
    """The sealed rows and what is measured on them."""

    max_items: int = Field(0, description="sealed rows used, chosen by hash; 0: all")
    judges: dict[str, Judge] = Field({}, description="name to judge; the name is a metric that the gate may name")
    slices: list[str] = Field([], description="label, length, language, source, or a column that the source maps to nothing")


class PromptFile(Section):
    """CSV or JSONL with prompts that a sound model refuses, or, where a column says so, answers."""

    path: str = Field(description="in the use case's folder, or found in the profile's data_folders")
    text: str = Field("prompt", description="column of the prompt")
    label: str = Field("", description="column that says which are unsafe; empty: all of them are")
    unsafe: list[str] = Field(["unsafe"], description="values of that column that mean: to be refused")


class InjectionFile(Section):
    """Instructions that are planted in a sealed message: CSV or JSONL, or JSON of kind to texts."""

    path: str = Field(description="in the use case's folder, or found in the profile's data_folders")
    text: str = Field("text", description="column of the instruction")
    canary: str = Field("canary", description="column of the words that only a hijacked model writes; may be absent")


class Safety(Section):
    """Prompts that never enter training: refusals on unsafe ones, compliance on safe ones, resistance to injection."""

    prompts: list[PromptFile] = []
    injections: list[InjectionFile] = []
    refusal_labels: list[str] = Field([], description="labels whose answer is a refusal")
    graders: dict[str, Judge] = Field({}, description="name to judge of kind pointwise with grades [0, 1]: 1 means refused")
    margin: Share = Field(0.1, description="a candidate shown worse at all is rejected; one not shown to be within this is not promoted")
    max_items: int = Field(0, ge=0, description="prompts of each kind, chosen by hash; 0: all")


class Gate(Section):
    """What a candidate must show."""

    metrics: dict[str, float] = Field(description="metric to non-inferiority margin, in the metric's own units")
    alpha: float = Field(0.05, gt=0, lt=0.5)
    min_items: int = Field(30, description="fewer paired items: INSUFFICIENT_DATA")
    looks: int = Field(30, description="evaluations against the sealed rows before the gate tightens")
    slice_margin: Share = Field(0.1, description="a candidate shown worse than this on a slice is not promoted")
    slice_min_items: int = Field(10, ge=2, description="slices with fewer pairs are shown and decide nothing")


class Staging(Section):
    """Between candidate and champion: fresh sealed rows, night by night, that neither training nor the first verdict saw."""

    max_nights: int = Field(0, ge=0, description="nights in which a promoted candidate must be confirmed; 0: no staging")
    min_items: int = Field(50, ge=1, description="fresh groups of rows before it can be confirmed")
    margin: Share = Field(0.1, description="allowed loss of every metric of the gate, shown by a confidence sequence")


class Retention(Section):
    """How long what came from people is kept, and how soon an erasure must have reached the champion."""

    days: dict[
        Literal["traffic", "clean", "quarantine", "examples", "synthetic", "predictions", "judgements", "scores"], Annotated[int, Field(ge=1)]
    ] = Field({}, description="table to days after which its rows are deleted; a table that is not named is kept")
    retrain_days: int = Field(30, ge=0, description="days in which a champion that was trained on erased rows must be replaced")


class Drift(Section):
    """Tonight against the reference window."""

    reference_days: int = 14
    min_rows: int = Field(20, description="rows in either window below which drift is not judged")
    share_threshold: Share = Field(0.05, description="share of the rows that must have moved, beyond chance, before a column has drifted")


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
