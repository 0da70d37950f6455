"""What the data is, must be, and becomes: sources, contract, privacy, split, synthesis, retention."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.sections import contradictions
from pipelines.sections.base import Section, Share


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
    off_limits: list[str] = Field(
        [], description="files (CSV, JSON lines, Parquet) whose texts may never be trained on, say a public test set"
    )
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


class Retention(Section):
    """How long what came from people is kept, and how soon an erasure must have reached the champion."""

    days: dict[
        Literal["traffic", "clean", "quarantine", "examples", "synthetic", "predictions", "judgements", "scores"],
        Annotated[int, Field(ge=1)],
    ] = Field({}, description="table to days after which its rows are deleted; a table that is not named is kept")
    retrain_days: int = Field(30, ge=0, description="days in which a champion that was trained on erased rows must be replaced")
