"""How a judge is asked and read: the fenced prompt, the held choices or the JSON schema, and the grade in a reply.

Each text is fenced by a mark made from a hash of all the texts: nobody can write a text that holds its own mark, so
none can end its fence. A reply that is one JSON object is read as JSON; else its last grade wins, since an injected
one is quoted before it.
"""

import hashlib
import json
import re
from typing import NamedTuple

from pipelines.sections import Judge

ORDERS = ("12", "21")  # of a pair: which output is shown first, as A
LETTERS = {"12": {"a": "1", "b": "2"}, "21": {"a": "2", "b": "1"}}
NEEDED = {"pairwise": ("prompt", "answer_a", "answer_b"), "pointwise": ("prompt", "answer")}
PLACEHOLDER = re.compile(r"\{(prompt|reference|answer_a|answer_b|answer)\}")
LIST = r"(?!\s*(?:and|or|/|&)\s*(?:verdict\W{0,6})?(?:[AB]|tie)\b)"  # "A or B" is no verdict
WINNER = re.compile(
    r"""(?:\bverdict\b\W{0,6}(?:(?:reply|answer|response)\s+)?|["']winner["']\s*:\s*["']?)"""
    rf"""(?P<winner>(?:a\s+)?tie\b|(?-i:[AB])\b{LIST}|(?-i:[ab])\b(?!\s+[a-z]))""",
    re.IGNORECASE,
)
GRADE = re.compile(r"""\bgrade\b["'*_`\s]{0,4}[:=]["'*_`\s]{0,4}(?P<grade>[-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?)""", re.IGNORECASE)


class Question(NamedTuple):
    """What is put to a judge: two outputs to compare, or one to grade (`two` is None)."""

    item: str
    group: str
    prompt: str
    reference: str
    one: str
    two: str | None
    side: str = ""  # pointwise on sealed rows: champion | candidate


class Read(NamedTuple):
    """A verdict ("1", "2", "tie", or the grade as text), or why there is none."""

    verdict: str | None
    unscored: str | None


def orders(judge: Judge) -> tuple[str, ...]:
    """The orders in which a question is put; a single answer has none."""
    return ORDERS if judge.kind == "pairwise" else ("",)


def build(template: str, question: Question, order: str) -> str:
    """The judge's prompt; placeholders are filled in one pass, so that a text cannot bring its own."""
    texts = {"prompt": question.prompt, "reference": question.reference}
    if question.two is None:
        texts["answer"] = question.one
    else:
        texts["answer_a"], texts["answer_b"] = (question.one, question.two) if order == "12" else (question.two, question.one)
    # Sorted: both orders then begin with the same tokens, which the embedded model reads once.
    mark = hashlib.sha256("\0".join(sorted(texts.values())).encode()).hexdigest()[:16]

    def fence(found: re.Match) -> str:
        return f"[{mark}]\n{texts[found[1]]}\n[{mark}]" if found[1] in texts else found[0]

    return PLACEHOLDER.sub(fence, template)


def choices(judge: Judge) -> tuple[str, ...]:
    """The first lines that the embedded model may write."""
    if judge.kind == "pairwise":
        return ("VERDICT: A", "VERDICT: B", "VERDICT: tie")
    return tuple(f"GRADE: {grade}" for grade in range(judge.grades[0], judge.grades[1] + 1))


def schema(judge: Judge) -> dict:
    """JSON schema of a judgement; the reason comes first, so that the verdict follows from it."""
    low, high = judge.grades
    key, kind = (
        ("winner", {"type": "string", "enum": ["A", "B", "tie"]})
        if judge.kind == "pairwise"
        else ("grade", {"type": "integer", "minimum": low, "maximum": high})
    )
    properties = {"reason": {"type": "string", "description": "one short sentence"}, key: kind}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read(judge: Judge, reply: str, order: str) -> Read:
    """The verdict in a reply: of its JSON object, else of its last grade; `unparsable` or `off_scale` where there is none."""
    if judge.kind == "pairwise":
        said = _json(reply, "winner")
        letters = [said] if said is not None else WINNER.findall(reply)
        winner = letters[-1].lower().split()[-1:] if letters else []
        verdict = "tie" if winner == ["tie"] else LETTERS[order].get("".join(winner))
        return Read(verdict, None if verdict else "unparsable")
    said = _json(reply, "grade")
    grades = [said] if said is not None else GRADE.findall(reply)
    try:
        grade = float(grades[-1]) if grades else None
    except ValueError:
        grade = None
    if grade is None:
        return Read(None, "unparsable")
    on_scale = grade in range(judge.grades[0], judge.grades[1] + 1)
    return Read(str(int(grade)), None) if on_scale else Read(None, "off_scale")


def _json(reply: str, key: str) -> str | None:
    """The value of a key as text, where the whole reply is a JSON object that has it."""
    try:
        said = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    return str(said[key]) if isinstance(said, dict) and key in said else None
