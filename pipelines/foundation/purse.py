"""What one run of one step may spend on one model: under every cap of the use case, with an alert on the way to each."""

import datetime
import logging
import threading
from collections.abc import Container, Sequence
from decimal import Decimal
from typing import NamedTuple

from pipelines.foundation.spend import ZERO, Account, Book, Paid
from pipelines.sections import Budget

ALERTS = (Decimal("0.5"), Decimal("0.8"), Decimal(1))  # shares of a cap
log = logging.getLogger("pipelines.spend")


class Wanted(NamedTuple):
    """One call that asks for money."""

    key: str
    bound: Decimal  # the most that it can cost


class Purse:
    """The money of one run of one step for one model."""

    def __init__(self, book: Book, budget: Budget, account: Account) -> None:
        """`budget` are the use case's caps."""
        self._book, self._budget, self._account = book, budget, account
        self.spent = ZERO  # settled by this run, with what may have been billed
        self._own: dict[str, Decimal] = {}  # reserved by this run
        self._stopped = ""  # the cap that had no room when last something was reserved
        self._lock = threading.Lock()
        self.alerts: list[str] = []

    def reserve(self, wanted: Sequence[Wanted]) -> int:
        """Reserve the first so many of the calls as every cap has room for, and return their number.

        A call that was reserved before, by a run that was killed, takes the place of that reservation.
        """
        with self._lock:
            while True:
                count, self._stopped = self._room(wanted)
                if not count:
                    return 0
                if self._add({"reserve": {want.key: str(want.bound) for want in wanted[:count]}}):
                    self._own |= {want.key: want.bound for want in wanted[:count]}
                    return count

    def settle(self, paid: Sequence[Paid], released: Sequence[str] = ()) -> None:
        """Write down what calls came to, and give back what was reserved for those that were never sent."""
        with self._lock:
            settled = [(one.key, str(one.dollars), one.usage, str(one.unsure)) for one in paid]
            while not self._add({"settle": settled, "release": list(released), "alerts": self._crossed(paid)}):
                pass
            for one in paid:
                self.spent += one.dollars + one.unsure
                self._own.pop(one.key, None)
            for key in released:
                self._own.pop(key, None)

    @property
    def run(self) -> str:
        """The run of the step."""
        return self._account.run

    def left_open(self, keys: Container[str]) -> list[str]:
        """Reservations of these calls that earlier runs left: `key`, or `key@run` where each sending is billed."""
        return [name for name in self._book.balance.open if name.partition("@")[0] in keys and name not in self._own]

    def reserved(self, name: str) -> Decimal:
        """What is reserved for a call, by this run or an earlier one."""
        return self._book.balance.open[name][2] if name in self._book.balance.open else ZERO

    def too_dear(self, bound: Decimal) -> str:
        """Why a single call is refused, empty where it is not."""
        cap = self._budget.call
        return f"the call may cost {bound:f} dollars, and budget.call is {cap:f}" if cap is not None and bound > cap else ""

    def refuse(self) -> str:
        """The cap that stopped the last reservation, for people; raises the alert that it is reached."""
        name = self._name(self._stopped, Decimal(1))
        while name not in self._book.balance.alerted and not self._add({"alerts": [name]}):
            pass
        return f"budget.{self._stopped} of {self._cap(self._stopped)} dollars would be passed"

    def _cap(self, cap: str) -> str:
        return f"{getattr(self._budget, cap).normalize():f}"

    def _caps(self) -> list[str]:
        return [cap for cap in ("run", "night", "month", "total") if getattr(self._budget, cap) is not None]

    def _committed(self, cap: str, besides: frozenset[str]) -> Decimal:
        """Spent and reserved under a cap."""
        if cap == "run":
            return self.spent + sum((amount for key, amount in self._own.items() if key not in besides), ZERO)
        month, balance = _now()[:7], self._book.balance
        return balance.spent(cap, self._account, month) + balance.reserved(cap, self._account, month, besides)

    def _room(self, wanted: Sequence[Wanted]) -> tuple[int, str]:
        """How many of the calls fit, and the cap that stops the next one."""
        keys = frozenset(want.key for want in wanted)
        left = {cap: getattr(self._budget, cap) - self._committed(cap, keys) for cap in self._caps()}
        for count, want in enumerate(wanted):
            for cap in left:
                left[cap] -= want.bound
                if left[cap] < 0:
                    return count, cap
        return len(wanted), ""

    def _crossed(self, paid: Sequence[Paid]) -> list[str]:
        """Thresholds of caps that this settlement crosses for the first time."""
        more, found = sum((one.dollars + one.unsure for one in paid), ZERO), []
        for cap in self._caps():
            spent = (self.spent if cap == "run" else self._book.balance.spent(cap, self._account, _now()[:7])) + more
            names = [self._name(cap, share) for share in ALERTS if spent >= share * getattr(self._budget, cap)]
            found += [name for name in names if name not in self._book.balance.alerted]
        return found

    def _name(self, cap: str, share: Decimal) -> str:
        who = self._account
        of = {"run": f"run {who.run} of {who.step}", "night": f"night {who.night}", "month": f"month {_now()[:7]}", "total": "use case"}
        return f"{share:.0%} of budget.{cap} ({self._cap(cap)} dollars) is reached for the {of[cap]}"

    def _add(self, parts: dict) -> bool:
        """One entry; False where another process wrote one first."""
        entry = {"at": _now(), "account": self._account._asdict()} | {name: value for name, value in parts.items() if value}
        if len(entry) == 2:
            return True
        if not self._book.append(entry):
            return False
        for alert in parts.get("alerts", []):
            log.warning("spend: %s", alert)
            self.alerts.append(alert)
        return True


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()
