"""The items on the decision page: what the champion had right and the candidate has wrong, with both answers side by side."""

from pipelines.release.decision.facts import Facts
from pipelines.release.decision.flips import Answer, Flip, Loss
from pipelines.release.decision.hostile import html
from pipelines.release.decision.parts import chip, number

SUMMARY = 110  # letters of the prompt that are read before a click


def flips(facts: Facts) -> str:
    """Counts, then an item a fold; then the pairs that judges decided for the champion."""
    found = facts.flips
    if not found.metric:
        return "<p>Nothing was scored item by item.</p>"
    rule = "right before and wrong now" if found.metric == "accuracy" else f"fell by more than {found.threshold:g} in {found.metric}"
    reverse = "wrong before and right now" if found.metric == "accuracy" else "rose by as much"
    told = f"{_items(found.worse)} {rule}; {_items(found.better)} {reverse}."
    if found.worse > len(found.listed):
        told += f" The first {len(found.listed)} are listed, those in failed slices first."
    body = f"<p>{html(told)}</p>" + "".join(_flip(flip) for flip in found.listed)
    for judge, count in found.lost.items():
        losses = [loss for loss in found.losses if loss.judge == judge]
        shown = f"; the first {len(losses)}:" if losses else "."
        body += f"<h3>{html(judge)}: {count:,} pairs decided for the champion{shown}</h3>" + "".join(_loss(loss) for loss in losses)
    return body


def _items(count: int) -> str:
    return f"{count:,} item{'' if count == 1 else 's'}"


def _flip(flip: Flip) -> str:
    return f'<details class="item"><summary>{_summary(flip)}</summary><div>{_answers(flip)}</div></details>'


def _summary(flip: Flip) -> str:
    chips = chip("FAIL", "failed slice") + " " if flip.failed else ""
    if flip.gold.label is None:
        return f"{chips}{number(flip.champion, 2)}<span class=arrow>→</span>{number(flip.candidate, 2)} · {html(_last_words(flip))}"
    labels = f"<code>{html(flip.old.label, 60)}</code><span class=arrow>→</span><code>{html(flip.new.label, 60)}</code>"
    return f"{chips}{labels} · {html(_last_words(flip))}"


def _last_words(flip: Flip) -> str:
    """The end of the prompt: what came before is context."""
    lines = flip.prompt.strip().splitlines() or [""]
    return lines[-1] if len(lines[-1]) <= SUMMARY else f"{lines[-1][:SUMMARY]}…"


def _answers(flip: Flip) -> str:
    slices = " ".join(chip("", f"{name}: {value}") for name, value in flip.slices.items())
    parts = [f"<p>{slices}</p>" if slices else "", _quote("Prompt", flip.prompt), _answer("Reference", flip.gold)]
    sides = f"<div>{_answer('Champion', flip.old)}</div><div>{_answer('Candidate', flip.new)}</div>"
    return "".join(parts) + f'<div class="pair">{sides}</div><p class="quiet mono">{html(flip.item)}</p>'


def _answer(name: str, answer: Answer) -> str:
    """A label stands in the caption, a reply in the quotation."""
    label = f": <b>{html(answer.label, 200)}</b>" if answer.label is not None else ""
    if answer.reply is None:
        return f'<p class="label">{html(name)}{label or ": no answer"}</p>'
    return f'<p class="label">{html(name)}{label}</p><div class="quote" dir="auto">{html(answer.reply)}</div>'


def _quote(name: str, text: str) -> str:
    return f'<p class="label">{html(name)}</p><div class="quote" dir="auto">{html(text)}</div>'


def _loss(loss: Loss) -> str:
    """An item with what each member of the judge wrote."""
    replies = "".join(
        f'<p class="label">Member {html(reply.member[:12])}{f", {html(_shown(reply.shown))}" if reply.shown else ""}: '
        f'<b>{html(_verdict(reply.verdict), 60)}</b></p><div class="quote" dir="auto">{html(reply.raw)}</div>'
        for reply in loss.replies
    )
    return f'<details class="item"><summary>{html(_last_words(loss.flip))}</summary><div>{_answers(loss.flip)}{replies}</div></details>'


def _shown(order: str) -> str:
    return {"12": "candidate shown first", "21": "champion shown first"}.get(order, order)


def _verdict(verdict: str) -> str:
    return {"1": "candidate", "2": "champion"}.get(verdict, verdict)
