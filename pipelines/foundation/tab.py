"""What one run of one step asked of models: calls, memo hits, failures, what is still with a provider, and money."""

import secrets
from collections import Counter
from decimal import Decimal

from pipelines.foundation.lake import Lake
from pipelines.foundation.purse import Purse
from pipelines.foundation.spend import ZERO, Account, Book
from pipelines.sections import Budget

# Words of replies that another run may turn into answers: a result with one of them is partial.
OPEN = frozenset(
    (
        "timeout",
        "connection",
        "rate_limited",
        "server_error",
        "malformed",
        "circuit_open",
        "denied",
        "no_endpoint",
        "over_budget",
        "batch_failed",
    )
)


class Tab:
    """Counts of one run; the door adds to them."""

    def __init__(self, lake: Lake, budget: Budget, night: str, step: str) -> None:
        """A tab with nothing on it."""
        self.calls = self.reused = 0
        self.failed: Counter[str] = Counter()
        self.waiting: dict[str, str] = {}  # id of a batch to the name of its endpoint
        self.step = step
        self._lake, self._budget, self._night = lake, budget, night
        self._run = secrets.token_hex(6)
        self._purses: dict[str, Purse] = {}
        self._book: Book | None = None

    def purse(self, model: str) -> Purse:
        """The money for one model."""
        if self._book is None:
            self._book = Book(self._lake)
        if model not in self._purses:
            self._purses[model] = Purse(self._book, self._budget, Account(self._night, self.step, model, self._run))
        return self._purses[model]

    @property
    def spent(self) -> Decimal:
        """Dollars settled by this run, with what may have been billed."""
        return sum((purse.spent for purse in self._purses.values()), ZERO)

    @property
    def partial(self) -> dict[str, int]:
        """Calls that another run may get answered, by the word of their error."""
        return {word: count for word, count in sorted(self.failed.items()) if word in OPEN}

    def figures(self) -> dict:
        """For the step's result."""
        found: dict = {"model_calls": self.calls, "reused_calls": self.reused, "spent": f"{self.spent.normalize():f}"}
        if alerts := [alert for purse in self._purses.values() for alert in purse.alerts]:
            found["alerts"] = alerts
        return found | ({"partial": self.partial} if self.partial else {})
