"""A pairwise judge, advisory: both orders of each pair, raw replies kept, what cannot be read is unscored and never zero.

Each text is fenced by a mark made from a hash of all the texts: nobody can write a text that holds its own mark, so
none can end its fence. The last grade of a reply wins, since an injected one is quoted before it.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import llm
from pipelines.foundation.step import Night, fingerprint

GRADE = re.compile(r"""(?:\bVERDICT\b\W{0,6}|["']winner["']\s*:\s*["']?)(?P<winner>A|B|tie)\b""", re.IGNORECASE)
CHOICES = ("VERDICT: A", "VERDICT: B", "VERDICT: tie")  # for the embedded model, whose first line can be held
PLACEHOLDER = re.compile(r"\{(prompt|reference|answer_a|answer_b)\}")
ORDERS = {"AB": {"A": "candidate", "B": "champion"}, "BA": {"A": "champion", "B": "candidate"}}


class Pair(NamedTuple):
    """Two answers to one sealed row."""

    example_id: str
    group_id: str
    prompt: str
    reference: str
    champion: str
    candidate: str


class Judged(NamedTuple):
    """Rows of the table `judgements` for this night, and how many calls they cost."""

    rows: list[dict]
    calls: int


def judge(night: Night, pairs: Sequence[Pair]) -> Judged:
    """Grade the pairs in both orders; grades that an earlier night paid for are used again.

    An endpoint that is missing or fails leaves its pairs unscored, with the reason. Raises UserError only for a prompt
    file that is missing or lacks a placeholder.
    """
    settings = night.usecase.evaluation.judge
    template = night.usecase.prompt(settings.prompt)
    for name in ("prompt", "answer_a", "answer_b"):
        if f"{{{name}}}" not in template:
            raise UserError(f"{night.usecase.folder}/prompts/{settings.prompt}: the placeholder {{{name}}} is missing")
    endpoint = night.profile.endpoints.get(settings.endpoint)
    who = endpoint.model_dump(include={"kind", "url", "model"}) if endpoint else settings.endpoint
    identity = fingerprint("judge", 1, who, template, settings.max_new_tokens)
    graded = {(row["pair"], row["order"]): row for row in _graded(night, identity)}
    both = [(_row(night, identity, pair, order, graded.get((content(pair), order))), pair) for pair in pairs for order in ORDERS]
    waiting = [(row, pair) for row, pair in both if row["unscored"] == "not asked"]
    requests = [llm.Request("", build(template, pair, row["order"]), settings.max_new_tokens, choices=CHOICES) for row, pair in waiting]
    replies = _ask(night, requests)
    for (row, _), reply in zip(waiting, replies, strict=True):
        row["raw"] = reply.text
        row["winner"] = parse(reply.text, row["order"]) if reply.text is not None else None
        row["unscored"] = None if row["winner"] else reply.error or "unparsable"
    return Judged([row for row, _ in both], sum(reply.text is not None for reply in replies))


def build(template: str, pair: Pair, order: str) -> str:
    """The judge's prompt; placeholders are filled in one pass, so that a text cannot bring its own."""
    first, second = (getattr(pair, ORDERS[order][place]) for place in "AB")
    texts = {"prompt": pair.prompt, "reference": pair.reference, "answer_a": first, "answer_b": second}
    mark = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()[:16]
    return PLACEHOLDER.sub(lambda found: f"[{mark}]\n{texts[found[1]]}\n[{mark}]", template)


def parse(reply: str, order: str) -> str | None:
    """candidate, champion or tie, by the last grade in the reply; None where there is none."""
    grades = GRADE.findall(reply)
    return ORDERS[order].get(grades[-1].upper(), "tie") if grades else None


def content(pair: Pair) -> str:
    """What a grade depends on, besides the judge and the order."""
    return fingerprint(pair.prompt, pair.reference, pair.champion, pair.candidate)


def summarise(rows: Sequence[dict], max_unscored: float) -> dict:
    """Counts of pairs from rows in both orders: a win or a loss needs both orders, else it is a tie (inconsistent).

    `order_consistency` is the share of pairs graded twice with the same winner, `first_position_share` the share of
    grades for either answer that went to the one shown first; None where nothing was graded.
    """
    by_pair: dict[str, list[dict]] = {}
    for row in rows:
        by_pair.setdefault(row["example_id"], []).append(row)
    counts = dict.fromkeys(("wins", "ties", "losses", "unscored", "inconsistent"), 0)
    consistent = twice = 0
    for both in by_pair.values():
        winners = {row["winner"] for row in both}
        agreed = len(winners) == 1
        if None in winners:
            counts["unscored"] += 1
            continue
        counts[{"candidate": "wins", "champion": "losses", "tie": "ties"}[winners.pop()] if agreed else "ties"] += 1
        counts["inconsistent"] += not agreed
        if any(row["raw"] is not None for row in both):
            twice, consistent = twice + 1, consistent + agreed
    chosen = [row for row in rows if row["winner"] in ("candidate", "champion")]
    first = sum(ORDERS[row["order"]]["A"] == row["winner"] for row in chosen)
    return counts | {
        "items": len(by_pair),
        "order_consistency": round(consistent / twice, 4) if twice else None,
        "first_position_share": round(first / len(chosen), 4) if chosen else None,
        "usable": bool(by_pair) and counts["unscored"] <= max_unscored * len(by_pair),
        "advisory": True,
    }


def _graded(night: Night, identity: str) -> list[dict]:
    """Rows of this judge from any night whose reply is there; a failed call is asked again."""
    where = f"judge = '{identity}' AND raw IS NOT NULL"
    return night.lake.read("judgements", night.lake.version("judgements"), where=where).to_pylist()


def _row(night: Night, identity: str, pair: Pair, order: str, found: dict | None) -> dict:
    """A row of this night: graded before, a tie because the answers are the same text, or still to ask."""
    row = {"example_id": pair.example_id, "group_id": pair.group_id, "night": night.night}
    row |= {"judge": identity, "order": order, "pair": content(pair)}
    if pair.champion.strip() == pair.candidate.strip():
        return row | {"winner": "tie", "unscored": None, "raw": None}
    if found is not None:
        return row | {key: found[key] for key in ("winner", "unscored", "raw")}
    return row | {"winner": None, "unscored": "not asked", "raw": None}


def _ask(night: Night, requests: list[llm.Request]) -> list[llm.Reply]:
    """Replies in order; where the endpoint cannot be used at all, each says why."""
    name = night.usecase.evaluation.judge.endpoint
    endpoint = night.profile.endpoints.get(name)
    if endpoint is None:
        return [llm.Reply(None, f"no_endpoint: the profile has no endpoint {name}", 0, 0)] * len(requests)
    try:
        return llm.ask(endpoint, Path(night.profile.state) / "models", requests)
    except UserError as error:
        return [llm.Reply(None, f"no_endpoint: {error}", 0, 0)] * len(requests)
