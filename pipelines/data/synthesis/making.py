"""The rows of one night: drafts in rounds, a model's answers or altered texts, and what passes the filters."""

import hashlib
import json
import random
from collections import Counter, defaultdict

from pipelines.data.synthesis import asking, augment, filters, plans
from pipelines.errors import UserError
from pipelines.foundation import llm, offlimits, privacy, protected
from pipelines.foundation.messages import Reply
from pipelines.foundation.step import Night, fingerprint

ROUNDS = 3
OVERASK = 3  # tries for one wanted row, at most


class Maker:
    """What a night has made so far, and what the next message is held against."""

    def __init__(self, night: Night, stock: plans.Stock, guard: protected.Guard) -> None:
        self.rows: list[dict] = []
        self.refused: dict[str, Counter[str]] = defaultdict(Counter)  # method to the words of the refusals
        self.replies: list[Reply] = []
        self.tried: Counter[str] = Counter()  # drafts by method
        self._night, self._stock, self._guard = night, stock, guard
        self._settings = night.usecase.synthesis
        self._shares: dict[str, int] = {}
        self._asks: dict[str, asking.Ask] = {}

    def make(self, wanted: int) -> None:
        """Try in rounds, more in each, until every method has its share or OVERASK tries a row are spent."""
        self._shares = plans.quotas(self._settings, wanted, sum(plans.lacking(self._settings, self._stock).values()))
        self._asks = asking.build(self._night, [name for name, share in self._shares.items() if share and name not in augment.METHODS])
        self._barriers = self._filters()
        for turn in range(ROUNDS):
            seed = int(fingerprint(self._settings.seed, self._night.night, turn), 16) % 2**31
            planned = self._plan(turn, seed)
            self.tried.update(draft.method for draft, _ in planned)
            self._alter([(draft, seed) for draft, seed in planned if draft.method in augment.METHODS])
            self._ask([(draft, seed) for draft, seed in planned if draft.method in self._asks])
            if self._night.tab.waiting:
                break

    def _plan(self, turn: int, seed: int) -> list[tuple[plans.Draft, int]]:
        """The drafts of a round, each with a seed of its own."""
        stock = self._stock._replace(made=[*self._stock.made, *self.rows])
        have = Counter(row["method"] for row in self.rows)
        planned: list[plans.Draft] = []
        for method, share in self._shares.items():
            count = min((share - have[method]) * (turn + 1), share * OVERASK - self.tried[method])
            shots = plans.SHOTS if method in self._asks and self._asks[method].shows_examples else 1
            planned += plans.plan(self._settings, stock, method, random.Random(f"{seed} {method}"), max(count, 0), shots)
        return [(draft, (seed + place) % 2**31) for place, draft in enumerate(planned)]

    def _ask(self, planned: list[tuple[plans.Draft, int]]) -> None:
        """Have the model write, and take what passes; raises UserError where nothing at all was answered."""
        if not planned:
            return
        requests = [asking.request(self._night, self._asks[draft.method], draft, seed) for draft, seed in planned]
        found = sorted(llm.ask(self._night, self._settings.endpoint, requests), key=lambda answer: answer[0])
        answers = [reply for _, reply in found]
        self.replies += answers
        if self._night.tab.waiting:
            return
        if not any(reply.text or reply.word == "over_budget" for reply in self.replies):
            raise UserError(
                f"synthesis: none of {len(self.replies)} requests to the endpoint {self._settings.endpoint!r} was answered, "
                f"first: {answers[0].error}; mend the endpoint in the profile, or set synthesis.rows_per_night: 0"
            )
        for (draft, seed), request, answer in zip(planned, requests, answers, strict=True):
            message, reason = filters.judge(self._barriers, draft, answer, request.max_new_tokens)
            ask = self._asks[draft.method]
            self._take(draft, message, reason, {"model": ask.model, "prompt_version": ask.version, "seed": seed})

    def _alter(self, planned: list[tuple[plans.Draft, int]]) -> None:
        for draft, seed in planned:
            message = augment.alter(draft.method, draft.parent["prompt"], random.Random(seed), self._settings.edits)
            origin = {"model": f"augment.{draft.method}", "prompt_version": f"code {augment.VERSION}", "seed": seed}
            self._take(draft, message, filters.refuse_altered(self._barriers, draft, message), origin)

    def _take(self, draft: plans.Draft, message: str, reason: str | None, origin: dict) -> None:
        """Count a refusal, or keep the row."""
        full = sum(row["method"] == draft.method for row in self.rows) == self._shares[draft.method]
        reason = reason or ("safety_set" if self._guard.find(message) else "not_needed" if full else None)
        if reason:
            self.refused[draft.method][reason] += 1
        else:
            self._barriers.index.add(message)
            self.rows.append(_row(self._night.night, draft, message) | origin)

    def _filters(self) -> filters.Filters:
        stock, counts = self._stock, Counter(row["label"] for row in self._stock.train)
        barred = (entry.text for entry in offlimits.read(self._night))
        return filters.Filters(
            self._settings,
            filters.Index(row["prompt"] for row in (*stock.train, *stock.made)),
            filters.Index([*(row["prompt"] for row in stock.test), *barred]),
            self._night.usecase.split.near_duplicate,
            privacy.build(self._night.usecase.privacy),
            filters.classifier(stock.train) if self._asks else None,
            frozenset(label for label, count in counts.items() if label is not None and count < self._settings.rare_below),
        )


def _row(night: str, draft: plans.Draft, message: str) -> dict:
    parent = draft.parent
    assert parent["split"] == "train", f"{parent['example_id']} is not a train row"
    parts = (message, parent["response"] or "", parent["label"] or "")
    about = {"persona": draft.persona.name if draft.persona else None, "near": draft.other}
    return {
        "example_id": hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16],
        "group_id": parent["group_id"],
        "subject_id": None,
        "prompt": message,
        "response": parent["response"],
        "label": parent["label"],
        "source": "synthetic",
        "parent_id": parent["example_id"],
        "split": parent["split"],
        "night": night,
        "day": night,
        "attributes": json.dumps({name: value for name, value in about.items() if value}),
        "method": draft.method,
        "depth": plans.depth(parent) + 1,
        "shown": json.dumps(sorted({row["example_id"] for row in draft.sources} - {parent["example_id"]})),
    }
