"""Two nights that nobody disturbs, and the same two nights killed again and again: what is different afterwards?

Each step is killed at places drawn from a seed: at a moment of its duration, or before or after one of its lasting changes
(a commit, a rename, a write of a table). Then it is run again, killed again, and at last run to its end.
"""

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pipelines.foundation.step import ORDER
from tests.killing import house
from tests.killing.clerk import Clerk
from tests.killing.forge import CHUNK, NOT, WINDOW, Forge, Kill, Tried
from tests.killing.survey import differences

# Kills a night; a place that a try does not come by any more is no kill, so there are some more than are wanted.
KILLS = dict(zip(ORDER, (3, 3, 3, 3, 4, 7, 4, 5, 4, 2, 4, 3, 2), strict=True))
WITHIN = 0.008  # seconds: within most changes
SLACK = 0.1  # seconds that a step of the training may take longer than it did before


class Report(NamedTuple):
    """What came of it."""

    seed: int
    killed: dict[str, int]  # kills that landed, by step
    places: list[str]  # night, step and place of each
    differences: list[str]  # between the two houses, in words; none: they are equal
    loss: list[str]  # work that was lost beyond what may be
    billed: int  # completions that the server wrote in the killed house
    dollars: tuple[str, str]  # the server's bill, and the book
    reserved: list[str]  # keys of calls whose money is still reserved
    asked_again: int  # requests that the server had answered before, and did not bill again
    answers_again: int  # rows that the embedded model answered again
    training_again: int  # steps of the training that were done again
    orphans: tuple[int, int]  # data files that no table names, before and after the sweep
    seconds: tuple[float, float]  # of the steps, undisturbed and killed

    def told(self) -> str:
        """For people."""
        by_step = ", ".join(f"{step} {count}" for step, count in self.killed.items())
        one, two = self.seconds
        return (
            f"seed {self.seed}: {len(self.places)} kills ({by_step}); afterwards {'equal' if not self.differences else 'DIFFERENT'}; "
            f"{self.billed} replies billed for {self.dollars[0]} dollars, the book says {self.dollars[1]}; done again: "
            f"{self.asked_again} requests (unbilled), {self.answers_again} answers, {self.training_again} training steps; "
            f"{self.orphans[0]} orphaned data files, {self.orphans[1]} after the sweep; {one:.0f} s undisturbed, {two:.0f} s with all kills"
        )


class Nights:
    """The two houses, one after the other in the same place and with the same server, so that every name is the same."""

    def __init__(self, root: Path, clerk: Clerk, forge: Forge) -> None:
        self.root, self.clerk, self.forge = root, clerk, forge
        self.known: dict[tuple[str, str], Tried] = {}  # the undisturbed tries
        self.killed: list[tuple[str, str, str]] = []
        self.loss: list[str] = []
        self.answers_again = self.training_again = 0
        self.seconds = [0.0, 0.0]

    def fresh(self) -> None:
        """A house in which nothing has happened."""
        shutil.rmtree(self.root / "state", ignore_errors=True)
        (self.root / "state").mkdir()
        (self.root / "state" / "models").symlink_to(self.root / "model")
        self.clerk.forget()

    def undisturbed(self) -> dict:
        """The facts of two nights that nobody disturbs."""
        self.fresh()
        for night in house.NIGHTS:
            for step in ORDER:
                self.known[night, step] = self._whole(night, step)
                self.seconds[0] += self.known[night, step].seconds
        return self._survey()

    def disturbed(self, seed: int) -> dict:
        """The facts of two nights that are killed."""
        self.fresh()
        for night in house.NIGHTS:
            for step in ORDER:
                self._kill(night, step, random.Random(f"{seed} {night} {step}"))
            again = self._run("night", night)
            assert all(said["result"]["memo"] for said in again.said if "result" in said), "a step that had ended was run again"
        return self._survey()

    def sweep(self) -> int:
        """Orphaned data files that are left after the house was swept."""
        self._run("sweep")
        return len(self._survey()["orphans"])

    def _kill(self, night: str, step: str, draw: random.Random) -> None:
        """Kill a step as often as it is its turn, then run it to its end."""
        tries: list[Tried] = []
        for kill in self._choose(night, step, draw):
            tries.append(self._run("step", step, night, kill=kill))
            self.seconds[1] += tries[-1].seconds
            if not tries[-1].killed:
                break
            self.killed.append((night, step, " and ".join(filter(None, (kill.place, f"{kill.seconds:.3f} s" if kill.seconds else "")))))
        else:
            tries.append(self._whole(night, step))
            self.seconds[1] += tries[-1].seconds
        self._count_lost(night, step, tries)

    def _choose(self, night: str, step: str, draw: random.Random) -> list[Kill]:
        """Moments, then places in the order of the undisturbed step, since a step that is run again comes by the later ones only.

        Of a place its function is drawn first, so that one with many changes is not hit all the time. In one of the nights
        the last kill is between the end of the work and its result.
        """
        tried = self.known[night, step]
        [places] = [said["places"] for said in tried.said if "places" in said]
        functions = sorted({place.split()[0] for place in places})
        kills = []
        for _ in range(KILLS[step]):
            function = draw.choice(functions)
            at = draw.choice([number for number, place in enumerate(places) if place.split()[0] == function])
            moment = Kill(seconds=draw.uniform(0.02, 0.85) * tried.seconds)
            within = Kill(draw.uniform(0.0005, WITHIN), places[at]) if "before" in places[at] else Kill(place=places[at])
            kills.append(draw.choices([(-1, moment), (at, Kill(place=places[at])), (at, within)], (40, 40, 20))[0])
        if night == house.NIGHTS[ORDER.index(step) % 2]:
            kills[-1] = len(places), Kill(place="step.run 1 before write")
        return [kill for _, kill in sorted(kills)]

    def _count_lost(self, night: str, step: str, tries: list[Tried]) -> None:
        """Work of these tries that was done before: at most one chunk, or one interval between checkpoints, a kill."""
        answers = sum(_generated(tried) for tried in tries) - _generated(self.known[night, step])
        self.answers_again += max(answers, 0)
        if answers > CHUNK * (len(tries) - 1):
            self.loss.append(f"{night} {step}: {answers} answers were written again after {len(tries) - 1} kills")
        last: dict = {"step": 0, "seconds": 0.0}
        longest = 0.0
        for tried in tries:
            told = [said for said in tried.said if "step" in said]
            for said in told:
                if said["step"] <= last["step"]:
                    self.training_again += last["step"] - said["step"] + 1
                    lost = last["seconds"] - said["seconds"]
                    if lost > house.USECASE["tuning"]["checkpoint_seconds"] + longest + SLACK:
                        self.loss.append(f"{night}: {lost:.2f} s of training were done again")
                else:
                    longest = max(longest, said["seconds"] - last["seconds"])
                last = said

    def _whole(self, night: str, step: str) -> Tried:
        return self._run("step", step, night)

    def _run(self, do: str, *given: str, kill: Kill = NOT) -> Tried:
        tried = self.forge.run(f"tests.killing.{'survey' if do in ('survey', 'sweep') else 'forge'}:{do}", *given, kill=kill)
        if tried.error or (tried.killed and kill == NOT):
            raise AssertionError(f"{do} {' '.join(given)} failed after the kills {self.killed[-5:]}:\n{tried.error}")
        return tried

    def _survey(self) -> dict:
        self._run("survey", str(self.root / "facts.json"))
        return json.loads((self.root / "facts.json").read_text())


def run(root: Path, seed: int) -> Report:
    """Both houses in a folder, and what is different."""
    with Clerk() as clerk, Forge(root) as forge:
        house.build(root, clerk.profile())
        nights = Nights(root, clerk, forge)
        before = nights.undisturbed()
        paid = clerk.bill()
        after = nights.disturbed(seed)
        bill = clerk.bill()
        orphans = len(after["orphans"]), nights.sweep()
    found = list(differences(_comparable(before), _comparable(after)))
    found += [f"the loss of {wrong}" for wrong in differences(before["curves"], after["curves"], near=1e-5)]
    found += [f"the bill {wrong}" for wrong in differences(paid["dollars"], bill["dollars"])]
    asking = sum(step in ("synthesize", "admit", "evaluate", "safety") for _, step, _ in nights.killed)
    if bill["repeated"] > asking * 2 * WINDOW:
        nights.loss.append(f"{bill['repeated']} requests were sent again after {asking} kills")
    counts = Counter(step for _, step, _ in nights.killed)
    return Report(
        seed,
        {step: counts[step] for step in ORDER},
        [" ".join(one) for one in nights.killed],
        found,
        nights.loss,
        bill["completions"],
        (bill["total"], after["spend"]["dollars"]),
        after["spend"]["open"],
        bill["repeated"],
        nights.answers_again,
        nights.training_again,
        orphans,
        (nights.seconds[0], nights.seconds[1]),
    )


def _comparable(facts: dict) -> dict:
    return {name: found for name, found in facts.items() if name not in ("curves", "orphans")}


def _generated(tried: Tried) -> int:
    return sum(said.get("answers", 0) for said in tried.said)
