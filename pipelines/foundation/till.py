"""The till at the door: what a round of calls may cost, what it came to, and what of it nobody knows."""

from collections.abc import Collection, Iterable
from decimal import Decimal

from pipelines.foundation import prices
from pipelines.foundation.memo import Kept
from pipelines.foundation.messages import Call, Reply, Usage
from pipelines.foundation.purse import Wanted
from pipelines.foundation.spend import ZERO, Paid
from pipelines.foundation.step import Night
from pipelines.sections import Endpoint, Prices


class Till:
    """The money of one round; does nothing where the model costs nothing."""

    def __init__(self, night: Night, endpoint: Endpoint) -> None:
        """The embedded model costs nothing a call: its machine is paid for by the second."""
        hosted = endpoint.kind == "openai"
        self._prices = night.profile.prices.get(endpoint.model, Prices()) if hosted else Prices()
        self._batch = endpoint.batch
        self._free = not prices.cost(self._prices, Usage(1, 1))
        self._purse = night.tab.purse(endpoint.model)
        self._once = endpoint.idempotent or endpoint.batch  # a call that is sent again is not billed again
        self._run = "" if self._once else f"@{self._purse.run}"
        self._held: set[str] = set()  # calls whose money this round reserved, and did not settle or leave
        self._refused = ""

    def too_dear(self, call: Call) -> str:
        """Why a single call is refused, empty where it is not."""
        return "" if self._free else self._purse.too_dear(self._bound(call))

    def reserve(self, calls: list[Call]) -> int:
        """How many of the first calls may be sent."""
        if self._free or self._refused:
            return 0 if self._refused else len(calls)
        wanted = [Wanted(call.key + self._run, self._bound(call)) for call in calls]
        count = self._purse.reserve(wanted)
        self._held |= {call.key for call in calls[:count]}
        return count

    def refuse(self) -> str:
        """No more is reserved in this round; returns why."""
        self._refused = self._refused or self._purse.refuse()
        return self._refused

    def cost(self, reply: Reply) -> Decimal:
        """Dollars of a reply; 0 where the server does not say."""
        return prices.cost(self._prices, reply.usage, self._batch) if reply.usage else ZERO

    def settle(self, kept: Collection[Kept], gone: dict[str, Reply]) -> None:
        """What came, and what was given up: free unless it may be billed; then reserved until the call comes again, or for good."""
        if self._free:
            return
        paid = [self._paid(entry.key, entry.reply, entry.dollars) for entry in kept]
        released = []
        for key, reply in gone.items():
            if reply.word == "waiting" or (reply.unsure and self._once and not self._batch):
                continue
            if reply.unsure:
                paid.append(self._paid(key, reply, ZERO))
            else:
                released.append(key + self._run)
        self._purse.settle(paid, released)
        self._held -= {entry.key for entry in kept} | set(gone)

    def settle_left(self, kept: Iterable[Kept]) -> None:
        """Calls that a killed run kept and did not settle."""
        if not self._free:
            entries = {entry.key: entry for entry in kept}
            left = [(name, entries[name.partition("@")[0]]) for name in self._purse.left_open(entries)]
            if left:
                self._purse.settle([Paid(name, entry.dollars, entry.reply.usage) for name, entry in left])

    def release(self, besides: Iterable[str]) -> None:
        """Give back what was reserved for calls that were never sent."""
        unsent = self._held.difference(besides)
        if unsent and not self._free:
            self._purse.settle([], [key + self._run for key in unsent])

    def _paid(self, key: str, reply: Reply, dollars: Decimal) -> Paid:
        """A reply without usage may have cost its bound; so may each try of which nothing is known."""
        times = reply.unsure + (reply.text is not None and reply.usage is None)
        return Paid(key + self._run, dollars, reply.usage, self._purse.reserved(key + self._run) * times)

    def _bound(self, call: Call) -> Decimal:
        return prices.bound(self._prices, call.request, self._batch)
