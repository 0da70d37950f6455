"""One member of a panel at work: what it is asked, and a row for every reply."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.evaluation import wording
from pipelines.evaluation.wording import Question
from pipelines.foundation import llm
from pipelines.foundation.messages import Request
from pipelines.foundation.step import Night, fingerprint
from pipelines.sections import Judge

MATCHER = "matcher"  # the member that is no endpoint: the string matcher for refusals


class Seat(NamedTuple):
    """One member at work."""

    night: Night
    name: str  # of the judge
    judge: Judge
    purpose: str
    member: str  # name of the endpoint
    key: str  # the member's hash
    template: str
    occasion: str  # see `messages.Request`


def put(seat: Seat, questions: Sequence[Question]) -> list[dict]:
    """One member's rows of the table `judgements`, one a question and order; texts that come twice are put once."""
    rows = []
    waiting: dict[tuple[str, str], list[dict]] = defaultdict(list)
    asked: dict[tuple[str, str], Question] = {}
    for question in questions:
        for order in wording.orders(seat.judge):
            row = _row(seat, question, order)
            rows.append(row)
            if question.two is not None and question.one.strip() == question.two.strip():
                row["verdict"], row["unscored"] = "tie", None
            else:
                waiting[row["content"], order].append(row)
                asked[row["content"], order] = question
    if seat.member == MATCHER:
        _match(waiting, asked)
    else:
        _ask(seat, waiting, asked)
    return rows


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


def _ask(seat: Seat, waiting: dict[tuple[str, str], list[dict]], asked: dict[tuple[str, str], Question]) -> None:
    """Fill the rows that wait; an endpoint without its API key leaves them unscored."""
    options = {"choices": wording.choices(seat.judge), "schema": wording.schema(seat.judge), "occasion": seat.occasion}
    requests = (
        Request(
            "", wording.build(seat.template, question, order), seat.judge.max_new_tokens, item=waiting[content, order][0]["item"], **options
        )
        for (content, order), question in asked.items()
    )
    places = list(asked)
    try:
        for number, reply in llm.ask(seat.night, seat.member, requests):
            place = places[number]
            read = wording.Read(None, reply.error) if reply.text is None else wording.read(seat.judge, reply.text, place[1])
            for row in waiting[place]:
                row |= {"verdict": read.verdict, "unscored": read.unscored, "raw": reply.text}
    except UserError as error:
        seat.night.tab.failed["no_endpoint"] += len(places)
        for row in itertools.chain.from_iterable(waiting.values()):
            row["unscored"] = f"no_endpoint: {error}"


def _match(waiting: dict[tuple[str, str], list[dict]], asked: dict[tuple[str, str], Question]) -> None:
    from pipelines.evaluation import matcher

    for place, rows in waiting.items():
        for row in rows:
            row |= {"verdict": matcher.match(asked[place].one), "unscored": None, "raw": ""}
