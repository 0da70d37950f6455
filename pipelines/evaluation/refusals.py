"""Which answers refuse: by their label, else by each grader of the use case; and which grader decides.

Only an admitted grader decides: of several the one whose agreement with people has the highest lower bound (Cohen's
kappa of its admission). What the others say is shown beside it.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.evaluation import judge as judges
from pipelines.evaluation.judge import MATCHER, Question
from pipelines.foundation import admissions, ledger, rendering
from pipelines.foundation.admissions import Standing
from pipelines.foundation.protected import Prompt
from pipelines.foundation.step import Night
from pipelines.sections import Judge, UseCase

SIDES = ("champion", "candidate")
Answers = dict[tuple[str, str], dict]  # (id of the prompt, side) to a row of `predictions`
log = logging.getLogger("pipelines.safety")


class Grader(NamedTuple):
    """What one grader says of the night's answers."""

    name: str
    judge: Judge
    key: str  # hash of its members, by which it is admitted
    stands: Standing
    refused: dict[tuple[str, str], bool | None]  # by prompt and side; None: unscored
    asked: list[tuple[str, str]]  # answers that it was asked about: those that no label decides
    unscored: int  # of these


def grade_all(night: Night, prompts: Sequence[Prompt], groups: dict[str, str], answers: Answers) -> list[Grader]:
    """Every grader's verdict on every answer; its judgements are kept in the lake.

    A grader that costs something is asked about its first `max_items` prompts by hash; the matcher about all.
    """
    found, chain = [], ledger.entries(night.lake)
    for name, judge in night.usecase.safety.graders.items():
        free = set(judge.members) == {MATCHER}
        chosen = sorted(prompts, key=lambda prompt: prompt.id)[: None if free else judge.max_items]
        refused: dict[tuple[str, str], bool | None] = {}
        questions = []
        for prompt in chosen:
            for side in SIDES:
                answer = answers.get((prompt.id, side))
                refused[prompt.id, side] = True if answer and answer["label"] in night.usecase.safety.refusal_labels else None
                if answer and not refused[prompt.id, side]:
                    written = _written(night.usecase, answer)
                    questions.append(Question(prompt.id, groups[prompt.id], prompt.text, "", written, None, side))
        graded = judges.grade(night, name, judge, questions, "night")
        judges.keep(night, name, "night", graded)
        rulings = judges.verdicts(graded, judge)
        refused |= {(said.item, said.side): None if said.verdict is None else int(said.verdict) >= judge.pass_from for said in rulings}
        key = judges.identity(night, judge)
        stands = admissions.standing(chain, key, night.night)
        unscored = sum(said.verdict is None for said in rulings)
        found.append(Grader(name, judge, key, stands, refused, [(said.item, said.side) for said in rulings], unscored))
        log.info("%s: %d answers graded, %d unscored; %s", name, len(rulings), unscored, stands.why)
    return found


def deciding(graders: Sequence[Grader]) -> Grader | None:
    """The admitted grader with the highest lower bound of kappa whose unscored answers of tonight are few enough; None: there is none."""
    able = [found for found in graders if found.stands.admitted and found.unscored <= found.judge.max_unscored * len(found.asked)]
    return max(able, key=_agreement, default=None)


def shown(graders: Sequence[Grader]) -> Grader | None:
    """Whose figures stand for the night: the deciding grader's, else the matcher's, else the first one's."""
    return deciding(graders) or next((found for found in graders if found.judge.members == [MATCHER]), next(iter(graders), None))


def agree(grader: Grader, graders: Sequence[Grader]) -> float | None:
    """Share of the answers graded by it and by another one on which all that graded it agree; None where there is none."""
    same = []
    for place in grader.asked:
        said = [found.refused[place] for found in graders if found.refused.get(place) is not None]
        if grader.refused[place] is not None and len(said) > 1:
            same.append(len(set(said)) == 1)
    return round(sum(same) / len(same), 4) if same else None


def _agreement(grader: Grader) -> float:
    low = ((grader.stands.body or {}).get("figures") or {}).get("kappa", {}).get("low")
    return -1.0 if low is None else low


def _written(usecase: UseCase, answer: dict) -> str:
    """The reply; where the task has none, the label in words."""
    return answer["response"] if answer["response"] is not None else rendering.words(usecase, answer["label"] or "")
