"""One member of a panel at work: what it was paid for before, what it is asked now, and a row for every reply."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.evaluation import wording
from pipelines.evaluation.wording import Question
from pipelines.foundation import llm
from pipelines.foundation.step import Night, fingerprint
from pipelines.sections import Judge

CHUNK = 64  # questions put between two writes, at least
MATCHER = "matcher"  # the member that is no endpoint: the string matcher for refusals
GONE = ("no_endpoint", "circuit_open")  # errors after which the other questions are not put


class Graded(NamedTuple):
    """Rows of the table `judgements`, one a question, member and order, and how many replies were paid for."""

    rows: list[dict]
    calls: int


class Seat(NamedTuple):
    """One member at work."""

    night: Night
    name: str  # of the judge
    judge: Judge
    purpose: str
    member: str  # name of the endpoint
    key: str  # the member's hash
    template: str


def put(seat: Seat, questions: Sequence[Question]) -> Graded:
    """One member's rows; texts that come twice are put once."""
    known, rows = _known(seat), []
    waiting: dict[tuple[str, str], list[dict]] = defaultdict(list)
    asked: dict[tuple[str, str], Question] = {}
    for question in questions:
        for order in wording.orders(seat.judge):
            row = _row(seat, question, order)
            place = row["content"], order
            rows.append(row)
            if question.two is not None and question.one.strip() == question.two.strip():
                row["verdict"], row["unscored"] = "tie", None
            elif place in known:
                row |= {key: known[place][key] for key in ("verdict", "unscored", "raw")}
            else:
                waiting[place].append(row)
                asked[place] = question
    if seat.member == MATCHER:
        _match(waiting, asked)
        return Graded(rows, 0)
    return Graded(rows, _ask_all(seat, waiting, asked))


def _known(seat: Seat) -> dict[tuple[str, str], dict]:
    """Rows with a reply that may be used again, by content and order; a failed call is put again."""
    where = f"member = '{seat.key}' AND raw IS NOT NULL"
    if seat.purpose == "night":
        where += " AND purpose <> 'anchor'"
    else:
        same = "('anchor')" if seat.purpose == "anchor" else "('label', 'probe')"
        where += f" AND night = '{seat.night.night}' AND purpose IN {same}"
    lake = seat.night.lake
    columns = ["content", "order", "verdict", "unscored", "raw", "member", "night", "purpose"]
    return {(row["content"], row["order"]): row for row in lake.read("judgements", lake.version("judgements"), columns, where).to_pylist()}


def _row(seat: Seat, question: Question, order: str) -> dict:
    """A row that waits for its reply."""
    return {
        "night": seat.night.night,
        "purpose": seat.purpose,
        "judge": seat.name,
        "member": seat.key,
        "item": question.item,
        "group_id": question.group,
        "side": question.side,
        "order": order,
        "content": fingerprint(question.prompt, question.reference, question.one, question.two),
        "verdict": None,
        "unscored": "not asked",
        "raw": None,
    }


def _ask_all(seat: Seat, waiting: dict[tuple[str, str], list[dict]], asked: dict[tuple[str, str], Question]) -> int:
    """Fill the rows that wait, chunk by chunk; returns the number of replies."""
    endpoint = seat.night.profile.endpoints.get(seat.member)
    size = max(CHUNK, 4 * endpoint.in_flight) if endpoint else CHUNK
    places, calls, gone = list(waiting), 0, None
    for start in range(0, len(places), size):
        chunk = places[start : start + size]
        replies = [gone] * len(chunk) if gone else _ask(seat, [(asked[place], place[1]) for place in chunk])
        for place, reply in zip(chunk, replies, strict=True):
            read = wording.Read(None, reply.error) if reply.text is None else wording.read(seat.judge, reply.text, place[1])
            for row in waiting[place]:
                row |= {"verdict": read.verdict, "unscored": read.unscored, "raw": reply.text}
        paid = [waiting[place][0] for place in chunk if waiting[place][0]["raw"] is not None]
        if paid:
            seat.night.lake.append("judgements", paid)
        calls += len(paid)
        gone = next((reply for reply in replies if reply.error and reply.error.startswith(GONE)), None)
    return calls


def _ask(seat: Seat, questions: Sequence[tuple[Question, str]]) -> list[llm.Reply]:
    """Replies in order; where the endpoint cannot be used at all, each says why."""
    endpoint = seat.night.profile.endpoints.get(seat.member)
    if endpoint is None:
        return [llm.Reply(None, f"no_endpoint: the profile has no endpoint {seat.member}", 0, 0)] * len(questions)
    options = {"choices": wording.choices(seat.judge), "schema": wording.schema(seat.judge)}
    requests = [
        llm.Request("", wording.build(seat.template, question, order), seat.judge.max_new_tokens, **options)
        for question, order in questions
    ]
    try:
        return llm.ask(endpoint, Path(seat.night.profile.state) / "models", requests)
    except UserError as error:
        return [llm.Reply(None, f"no_endpoint: {error}", 0, 0)] * len(questions)


def _match(waiting: dict[tuple[str, str], list[dict]], asked: dict[tuple[str, str], Question]) -> None:
    from pipelines.evaluation import matcher

    for place, rows in waiting.items():
        for row in rows:
            row |= {"verdict": matcher.match(asked[place].one), "unscored": None, "raw": ""}
