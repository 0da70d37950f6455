"""The gate: a candidate is promoted only when the sealed rows show it: `python -m pipelines gate --usecase support --night 2026-11-20`.

For each metric a paired, clustered non-inferiority test (`foundation.statistics`): it passes when the lower one-sided
bound of candidate minus champion is above -margin, and fails when the upper one is below it. All must pass, each at
alpha: an intersection-union test needs no correction (Berger 1982). To be promoted the candidate must also be better
(lower bound above 0) on at least one, at Holm's corrected levels (Holm 1979), unless the champion was trained on rows that
were erased since and has to go. A safety metric fails as soon as the
candidate is shown worse at all, and no slice may be shown worse than its margin. Which judges are read: see `evidence`.
"""

import logging

from pipelines.foundation import ledger, registry, subjects
from pipelines.foundation.step import Night, results, step
from pipelines.release.confirm import confirm
from pipelines.release.decide import decide
from pipelines.release.evidence import gather, standings
from pipelines.release.slices import compare_slices

log = logging.getLogger("pipelines.gate")


def _looks(night: Night) -> int:
    """Evaluations against the sealed rows up to this night; the same candidate on the same night is one look."""
    found = ledger.entries(night.lake)
    return len({(entry.night, entry.body.get("candidate")) for entry in found if entry.kind == "look" and entry.night <= night.night})


def _inputs(night: Night) -> dict[str, object]:
    """What the verdict depends on besides the settings: the looks, the judges' standing, the champion and the model in staging."""
    judges = {name: (stands.admitted, stands.entry) for name, stands in standings(night).items()}
    champion = registry.champion(night).key
    found = {"looks": _looks(night), "judges": judges, "champion": champion, "staging": registry.staging(night)}
    return found | {"champion must go": subjects.barred(ledger.entries(night.lake), champion)}


@step(code=2, after="safety", sections=("gate", "evaluation", "safety", "staging"), extra=_inputs)
def gate(night: Night) -> dict:
    """Decide, and write the verdict with its evidence to the ledger; raises UserError where a metric was not measured."""
    settings, looks, evaluated = night.usecase.gate, _looks(night), night.before("evaluate")
    alpha = spent_alpha(settings.alpha, settings.looks, looks)
    slices = compare_slices(night, alpha)
    must_go = subjects.barred(ledger.entries(night.lake), evaluated["champion"]["key"])
    found = decide(gather(night), slices, settings, alpha, must_go)
    if evaluated["candidate"]["key"] == evaluated["champion"]["key"]:
        found = found._replace(verdict="INSUFFICIENT_DATA", reason="the candidate is the champion itself: there is nothing to promote")
    reason = found.reason
    if looks > settings.looks:
        reason += f" The sealed rows were looked at {looks} times and {settings.looks} are planned: alpha is {alpha:.4f}."
    partial = {name: found["partial"] for name, found in results(night.lake, night.night).items() if found.get("partial")}
    if partial:
        told = "; ".join(f"{name} lacks {sum(words.values())} replies ({', '.join(words)})" for name, words in partial.items())
        reason += f" The night is partial, and what is missing counts as missing: {told}."
    judges = {
        name: {"judge": (stands.body or {}).get("judge"), "admitted": stands.admitted, "why": stands.why, "entry": stands.entry}
        for name, stands in standings(night).items()
    }
    counted = {"alpha": alpha, "looks": looks, "planned_looks": settings.looks}
    beside = {"slices": slices, "judges": judges, "staging": confirm(night), "lacking": partial}
    result = found._asdict() | {"reason": reason} | counted | beside
    models = {side: evaluated[side]["key"] for side in ("candidate", "champion")}
    ledger.append(night.lake, night.night, "verdict", result | models)
    log.info("%s: %s", found.verdict, reason)
    return result


def spent_alpha(alpha: float, planned: int, looks: int) -> float:
    """Alpha of this look: as set for the planned looks, then times (planned / looks)^2.

    The sum over all further looks stays below alpha * planned, so that a sealed set is never worth more than
    2 * alpha * planned false promotions, however long it is used.
    """
    return alpha * min(1.0, planned / max(looks, 1)) ** 2
