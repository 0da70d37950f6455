"""Where things live and who does the work: models, prices, bounds."""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from pipelines.sections.base import Dollars, Section


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
