"""A server that bills: it writes paraphrases, compares and grades, and bills each Idempotency-Key once.

Its answers follow from the request alone, so that two nights that ask the same are told, and pay, the same.
"""

import json
from collections import Counter
from decimal import Decimal

from tests.servers import MODEL, Call, ChatServer, fenced

INPUT, OUTPUT = Decimal("0.5"), Decimal("1.5")  # dollars for a million tokens
LATENCY = 0.015  # seconds: so that a kill finds calls under way
OPENINGS = ("Hello there, quickly:", "Morning, friends,", "One more time then,", "So, once again,", "Dear people,", "Hey, listen now,")


class Clerk(ChatServer):
    """The server from `with` to its end; `stored` is what it wrote, by key."""

    def __init__(self) -> None:
        super().__init__(answer=say)
        self.stored: dict[str, str] = {}
        self.dollars: dict[str, Decimal] = {}
        self.tries: Counter[str] = Counter()

    def complete(self, call: Call) -> str:
        """The body that is stored for the key, or a new one, which is billed."""
        key = call.headers["Idempotency-Key"]
        self.closed.wait(LATENCY)
        with self.lock:
            self.tries[key] += 1
            if key in self.stored:
                return self.stored[key]
        body = super().complete(call)
        usage = json.loads(body)["usage"]
        with self.lock:
            self.stored[key] = body
            self.dollars[key] = (usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT) / 1_000_000
        return body

    def forget(self) -> None:
        """Begin a new book: what was stored is written, and billed, again."""
        with self.lock:
            self.stored, self.dollars, self.tries, self.billed = {}, {}, Counter(), 0
            self.calls = []

    def bill(self) -> dict:
        """Dollars by key and together, the number of completions, and how often a key came again."""
        return {
            "total": str(sum(self.dollars.values(), Decimal(0)).normalize()),
            "dollars": {key: str(dollars) for key, dollars in sorted(self.dollars.items())},
            "completions": self.billed,
            "repeated": sum(self.tries.values()) - len(self.tries),
        }

    def profile(self) -> dict:
        """The parts of a profile that lead here."""
        endpoint = self.endpoint(idempotent=True, in_flight=4, timeout_seconds=20).model_dump(mode="json")
        return {
            "endpoints": {"embedded": {"kind": "embedded"}, "large": endpoint},
            "prices": {MODEL: {"input": str(INPUT), "output": str(OUTPUT)}},
        }


def say(call: Call) -> str:
    """A paraphrase, a verdict or a grade: whatever the prompt asks for."""
    texts = fenced(call)
    if len(texts) == 4:  # message, reference, answer A, answer B
        one, two = (_likeness(text, texts[1]) for text in texts[2:])
        return "VERDICT: tie" if one == two else f"VERDICT: {'A' if one > two else 'B'}"
    if len(texts) == 2:
        return f"GRADE: {int('cannot' in texts[1].lower())}"
    return f"{OPENINGS[call.body['seed'] % len(OPENINGS)]} {json.loads(call.prompt.rpartition('words: ')[2])}"


def _likeness(text: str, reference: str) -> float:
    """Share of the reference's letter pairs that the text has, less what it has besides."""
    one, two = ({text[at : at + 2] for at in range(len(text) - 1)} for text in (text.lower(), reference.lower()))
    return len(one & two) / max(len(one | two), 1)
