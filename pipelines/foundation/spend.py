"""Money: reserved before it is spent, settled after, in one chain of files that every process of a use case adds to.

`spend/00000001.json`, ... (see `numbered`): of two processes that want the last cent one writes its reservation first, and
the other one sees it before it tries again. An entry reserves, settles or releases many calls at once, each by its key, so
that a call is counted once however often it was tried. What a killed process had reserved stays reserved until the
same call is settled (its reply is in the memo, or comes again unbilled from a server that honours Idempotency-Key), or for
good: it may have been billed. Every SNAPSHOT-th entry holds the whole balance, so that nobody reads more than that many.
"""

import json
from decimal import Decimal
from typing import NamedTuple

from pipelines.foundation.lake import Lake
from pipelines.foundation.messages import Usage
from pipelines.foundation.numbered import Numbered

SNAPSHOT = 128
ZERO = Decimal(0)


class Paid(NamedTuple):
    """What one call came to."""

    key: str
    dollars: Decimal
    usage: Usage | None = None
    unsure: Decimal = ZERO  # may have been billed besides: tries of which the server told no usage


class Account(NamedTuple):
    """Whose money it is."""

    night: str
    step: str
    model: str
    run: str  # of the step: one process


class Line(NamedTuple):
    """Totals of one night, step and model."""

    calls: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    dollars: Decimal = ZERO
    unsure: Decimal = ZERO

    def plus(self, paid: Paid) -> "Line":
        """With one more call."""
        usage = paid.usage or Usage(0, 0)
        return Line(
            self.calls + 1,
            self.prompt + usage.prompt,
            self.cached + usage.cached,
            self.completion + usage.completion,
            self.dollars + paid.dollars,
            self.unsure + paid.unsure,
        )


class Balance:
    """The sum of the chain up to an entry."""

    def __init__(self) -> None:
        """Of no entry."""
        self.lines: dict[tuple[str, str, str], Line] = {}  # by night, step and model
        self.months: dict[str, Decimal] = {}
        self.open: dict[str, tuple[Account, str, Decimal]] = {}  # by key: account, month, bound
        self.alerted: list[str] = []

    def add(self, entry: dict) -> None:
        """One entry more."""
        if "snapshot" in entry:
            self._restore(entry["snapshot"])
            return
        account, month = Account(**entry["account"]), entry["at"][:7]
        self.alerted += entry.get("alerts", [])
        for key, amount in entry.get("reserve", {}).items():
            self.open[key] = (account, month, Decimal(amount))
        for key in entry.get("release", []):
            self.open.pop(key, None)
        for key, dollars, usage, unsure in entry.get("settle", []):
            if (found := self.open.pop(key, None)) is not None:  # else another process settled the same call before
                place, paid = (
                    (account.night, account.step, account.model),
                    Paid(key, Decimal(dollars), usage and Usage(*usage), Decimal(unsure)),
                )
                self.lines[place] = self.lines.get(place, Line()).plus(paid)
                self.months[found[1]] = self.months.get(found[1], ZERO) + paid.dollars + paid.unsure

    def spent(self, cap: str, account: Account, month: str) -> Decimal:
        """Dollars settled, or that may have been billed, under a cap: night, month or total."""
        if cap == "month":
            return self.months.get(month, ZERO)
        lines = (line for (night, _, _), line in self.lines.items() if cap == "total" or night == account.night)
        return sum((line.dollars + line.unsure for line in lines), ZERO)

    def reserved(self, cap: str, account: Account, month: str, besides: frozenset[str] = frozenset()) -> Decimal:
        """Dollars reserved and not settled under a cap, without the keys of `besides`."""
        same = {
            "night": lambda who, when: who.night == account.night,
            "month": lambda who, when: when == month,
            "total": lambda who, when: True,
        }[cap]
        return sum((amount for key, (who, when, amount) in self.open.items() if key not in besides and same(who, when)), ZERO)

    def snapshot(self) -> dict:
        """As JSON."""
        return {
            "lines": [[*place, *line] for place, line in self.lines.items()],
            "months": self.months,
            "open": [[key, *account, month, amount] for key, (account, month, amount) in self.open.items()],
            "alerted": self.alerted,
        }

    def _restore(self, found: dict) -> None:
        self.lines = {
            (night, step, model): Line(calls, prompt, cached, completion, Decimal(dollars), Decimal(unsure))
            for night, step, model, calls, prompt, cached, completion, dollars, unsure in found["lines"]
        }
        self.months = {month: Decimal(amount) for month, amount in found["months"].items()}
        self.open = {key: (Account(*account), month, Decimal(amount)) for key, *account, month, amount in found["open"]}
        self.alerted = list(found["alerted"])


class Book:
    """The chain of one use case, read on as it grows."""

    def __init__(self, lake: Lake) -> None:
        """Reads from the newest snapshot on."""
        self._files, self._number = Numbered(f"{lake.root}/spend"), 0
        self.balance = Balance()
        if (last := self._files.last()) >= SNAPSHOT:
            self._number = last // SNAPSHOT * SNAPSHOT - 1
        self.refresh()

    def refresh(self) -> None:
        """Take in what other processes wrote."""
        while (content := self._files.get(self._number + 1)) is not None:
            self.balance.add(json.loads(content))
            self._number += 1

    def append(self, entry: dict) -> bool:
        """Add an entry that was made from the balance as it stands; False where another writer was first: make it again."""
        if (self._number + 1) % SNAPSHOT == 0 and not self._write({"snapshot": self.balance.snapshot()}):
            return False
        return self._write(entry)

    def _write(self, entry: dict) -> bool:
        content = json.dumps(entry, default=str)
        if not self._files.create(self._number + 1, content.encode()):
            self.refresh()
            return False
        self.balance.add(json.loads(content))
        self._number += 1
        return True
