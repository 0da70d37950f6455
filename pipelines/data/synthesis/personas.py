"""Who writes: neutral ways of writing that every use case has customers of, or a file of the use case.

A line of the file is `name: description`, say `student: a student who writes as to a friend`; empty lines and lines that
begin with # are skipped. A persona changes how something is said, never what is asked.
"""

import re
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.sections import UseCase

LINE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)\s*:\s*(?P<words>\S.*)")


class Persona(NamedTuple):
    """A way of writing."""

    name: str
    words: str  # as the prompt says it


NEUTRAL = (
    Persona("terse", "someone who writes as few words as possible"),
    Persona("chatty", "someone who is friendly and writes more words than are needed"),
    Persona("angry", "someone who is annoyed that it has not been solved, without swearing"),
    Persona("polite", "someone who is very polite and formal"),
    Persona("worried", "someone who is worried and wants to be reassured"),
    Persona("hurried", "someone who types on a phone in a hurry, all in small letters"),
    Persona("non_native", "someone whose first language is not English, with short and simple sentences"),
    Persona("elderly", "an elderly person who is not used to apps and explains what they did"),
    Persona("unsure", "someone who is not sure what the thing is called and describes it"),
    Persona("expert", "someone who knows the trade and uses its exact words"),
)


def load(usecase: UseCase) -> tuple[Persona, ...]:
    """Those of the file that `synthesis.personas` names, else the neutral ones; raises UserError for a line that is none."""
    name = usecase.synthesis.personas
    if not name:
        return NEUTRAL
    found = []
    for number, line in enumerate(usecase.prompt(name).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not (match := LINE.fullmatch(line.strip())):
            where = f"{usecase.folder}/prompts/{name}, line {number}"
            raise UserError(f"{where}: a persona is written `name: description`, the name in small letters")
        found.append(Persona(match["name"], match["words"]))
    if not found:
        raise UserError(f"{usecase.folder}/prompts/{name} holds no persona: write one a line as `name: description`")
    return tuple(found)
