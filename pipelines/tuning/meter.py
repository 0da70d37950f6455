"""Training paid by the second and by the token: its money is reserved a lease at a time, and stops it where a cap is full."""

import time
from types import TracebackType
from typing import Self

from pipelines.errors import NightStopped
from pipelines.foundation import embedded, prices
from pipelines.foundation.messages import Usage
from pipelines.foundation.purse import Wanted
from pipelines.foundation.spend import Paid
from pipelines.foundation.step import Night
from pipelines.sections import Prices

SECONDS, TOKENS = 60.0, 50_000  # of a lease
RENEW = 0.8  # of a lease, so that a step that takes longer than those before does not outrun it


class Meter:
    """Counts one try of a training; what a killed try had leased counts as spent, for its machine ran."""

    def __init__(self, night: Night) -> None:
        """Nothing is reserved where the profile has no price of training."""
        self._night, self._prices = night, night.profile.prices.get(embedded.NAME, Prices())
        self._purse = night.tab.purse(embedded.NAME)
        self._leases, self._tokens, self._began, self._key = 0, 0, 0.0, ""

    def __enter__(self) -> Self:
        self._lease()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._settle()

    def count(self, tokens: int) -> None:
        """So many tokens more were trained on; raises NightStopped where a cap has no room for another lease."""
        self._tokens += tokens
        if self._tokens > RENEW * TOKENS or time.monotonic() - self._began > RENEW * SECONDS:
            self._settle()
            self._lease()

    def _lease(self) -> None:
        self._tokens, self._began = 0, time.monotonic()
        bound = prices.training(self._prices, TOKENS, SECONDS)
        if not bound:
            return
        self._leases += 1
        key = f"training {self._night.key} {self._purse.run} {self._leases}"
        if not self._purse.reserve([Wanted(key, bound)]):
            raise NightStopped(
                f"{self._night.usecase.folder}/usecase.yaml: {self._purse.refuse()}: the training stopped, what it has done is kept; "
                "raise the cap and run the step again"
            )
        self._key = key

    def _settle(self) -> None:
        if self._key:
            dollars = prices.training(self._prices, self._tokens, time.monotonic() - self._began)
            self._purse.settle([Paid(self._key, dollars, Usage(self._tokens, 0))])
            self._key = ""
