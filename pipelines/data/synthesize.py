"""A model writes more train rows: `python -m pipelines synthesize --usecase support --night 2026-11-20`.

Labels with few rows are filled first, then seeded train rows are paraphrased. Only train rows are shown and only train
rows have children; a child takes its parent's label, response, group and side. What the model wrote is filtered hard
(`filters`), and every refusal is counted.

The prompt is a file of the use case. Its places: {message} is the parent, {examples} the parent and, for a label with
few rows, two more of the label, {label} the label. Messages stand there as JSON strings, one a line: the fence that a
small model follows best.
"""

import hashlib
import json
import logging
import random
import re
from collections import Counter
from typing import NamedTuple

from pipelines.data import filters
from pipelines.errors import UserError
from pipelines.foundation import embedded, llm, privacy, protected, rendering, text
from pipelines.foundation.messages import Reply, Request
from pipelines.foundation.step import Night, fingerprint, step
from pipelines.sections import Endpoint

ROUNDS = 3
OVERASK = 3  # requests for one wanted row, at most
SHOTS = 3
PLACES = re.compile(r"\{(?:label|message|examples)\}")
log = logging.getLogger("pipelines.synthesize")


class Rows(NamedTuple):
    """What is there before the model is asked."""

    train: list[dict]  # real
    test: list[dict]
    made: list[dict]  # synthetic, of earlier nights


def _inputs(night: Night) -> dict[str, object]:
    """What the result depends on besides the settings."""
    endpoint = night.profile.endpoints.get(night.usecase.synthesis.endpoint)
    model = endpoint and (embedded.revision() if endpoint.kind == "embedded" else f"{endpoint.model} at {endpoint.url}")
    return {"synthesis prompt": night.usecase.prompt(night.usecase.synthesis.prompt), "synthesis model": model}


@step(code=2, after="split", sections=("synthesis", "task", "privacy"), extra=_inputs)
def synthesize(night: Night) -> dict:
    """Write this night's synthetic rows; returns counts, refusals by reason, and what the model was asked for.

    Raises UserError for an unknown endpoint, a prompt that is missing or has no place for messages, and where no request at all
    was answered.
    """
    settings, guard = night.usecase.synthesis, protected.Guard(night)
    rows = _rows(night, guard)
    wanted = min(settings.rows_per_night, _room(len(rows.train), len(rows.made), settings.min_real_share))
    accepted: list[dict] = []
    refused: Counter[str] = Counter()
    replies: list[Reply] = []
    if wanted > 0 and any(map(_alone, rows.train)):
        accepted, refused, replies = _write(night, rows, wanted, guard)
    version = night.lake.version("synthetic")
    if accepted or version is not None:  # an empty replacement takes away what an earlier run of this night left
        version = night.lake.replace("synthetic", accepted, night=night.night)
    return {
        "synthetic": version,
        "rows": len(accepted),
        "asked": len(replies),
        "rejected": dict(sorted(refused.items())),
        "methods": dict(Counter(row["method"] for row in accepted)),
        "tokens": sum(reply.usage.prompt + reply.usage.completion for reply in replies if reply.usage),
    }


def _rows(night: Night, guard: protected.Guard) -> Rows:
    """What is there; a row that matches the safety set is no parent."""
    real = night.lake.read("examples", night.before("split")["examples"], where=f"night <= '{night.night}'").to_pylist()
    made = night.lake.read("synthetic", night.lake.version("synthetic"), where=f"night < '{night.night}'").to_pylist()
    real.sort(key=lambda row: row["example_id"])
    train = [row for row in real if row["split"] == "train" and guard.find(row["prompt"]) is None]
    return Rows(train, [row for row in real if row["split"] == "test"], made)


def _room(real: int, made: int, min_real_share: float) -> int:
    """Synthetic rows that may be added so that `min_real_share` of the training set stays real."""
    return int(real * (1 - min_real_share) / min_real_share + 1e-9) - made if min_real_share else real * 1000


def _write(night: Night, rows: Rows, wanted: int, guard: protected.Guard) -> tuple[list[dict], Counter[str], list[Reply]]:
    """Ask in rounds, more in each, until enough is accepted or OVERASK requests a row are spent."""
    settings = night.usecase.synthesis
    endpoint, prompt = _endpoint(night), _prompt(night)
    barriers = _filters(night, rows)
    accepted: list[dict] = []
    refused: Counter[str] = Counter()
    replies: list[Reply] = []
    for turn in range(ROUNDS):
        count = min((wanted - len(accepted)) * (turn + 1), wanted * OVERASK - len(replies))
        if count <= 0:
            break
        seed = int(fingerprint(settings.seed, night.night, turn), 16) % 2**31
        drafts = _plan(night, rows, [*rows.made, *accepted], random.Random(seed), count, SHOTS if "{examples}" in prompt else 1)
        requests = [_request(night, prompt, draft, (seed + place) % 2**31) for place, draft in enumerate(drafts)]
        answers = [reply for _, reply in sorted(llm.ask(night, settings.endpoint, requests), key=lambda found: found[0])]
        replies += answers
        if night.tab.waiting:
            break
        if not any(answer.text or answer.word == "over_budget" for answer in replies):
            raise UserError(
                f"synthesis: none of {len(replies)} requests to the endpoint {settings.endpoint!r} was answered, "
                f"first: {answers[0].error}; mend the endpoint in the profile, or set synthesis.rows_per_night: 0"
            )
        for draft, request, answer in zip(drafts, requests, answers, strict=True):
            message, reason = filters.judge(barriers, draft, answer, request.max_new_tokens)
            reason = reason or ("safety_set" if guard.find(message) else "not_needed" if len(accepted) == wanted else None)
            if reason:
                refused[reason] += 1
            else:
                barriers.index.add(message)
                accepted.append(
                    _row(night, draft, message) | {"model": _model(endpoint), "prompt_version": fingerprint(prompt), "seed": request.seed}
                )
    return accepted, refused, replies


def _filters(night: Night, rows: Rows) -> filters.Filters:
    counts = Counter(row["label"] for row in rows.train)
    return filters.Filters(
        night.usecase.synthesis,
        filters.Index(row["prompt"] for row in (*rows.train, *rows.test, *rows.made)),
        frozenset(text.normalise(row["prompt"]) for row in rows.test),
        privacy.build(night.usecase.privacy),
        filters.classifier(rows.train),
        frozenset(label for label, count in counts.items() if label is not None and count < night.usecase.synthesis.rare_below),
    )


def _plan(night: Night, rows: Rows, made: list[dict], draw: random.Random, count: int, shots: int) -> list[filters.Draft]:
    """Drafts for `count` requests: rare labels in turn, the rarest first, until they would be filled; then paraphrases."""
    parents = [row for row in rows.train if _alone(row)]
    by_label: dict[str, list[dict]] = {}
    for row in draw.sample(parents, len(parents)):
        by_label.setdefault(row["label"], []).append(row)
    have = Counter(row["label"] for row in rows.train) + Counter(row["label"] for row in made)
    rare = sorted((label for label in by_label if label is not None), key=lambda label: (have[label], label))
    missing = {label: max(night.usecase.synthesis.rare_below - have[label], 0) for label in rare}
    drafts: list[filters.Draft] = []
    while len(drafts) < count and any(missing.values()):
        for label in [label for label in rare if missing[label]][: count - len(drafts)]:
            missing[label] -= 1
            by_label[label].append(by_label[label].pop(0))  # each row is the parent once before one is it again
            shown = [*draw.sample(by_label[label][:-1], min(shots - 1, len(by_label[label]) - 1)), by_label[label][-1]]
            drafts.append(filters.Draft(shown[-1], shown, "gap_fill"))
    while len(drafts) < count:
        chosen = draw.sample(parents, min(count - len(drafts), len(parents)))
        drafts += [filters.Draft(row, [row], "paraphrase") for row in chosen]
    return drafts


def _alone(row: dict) -> bool:
    """A message without the turns before it: only such a one can be said again by itself."""
    return not ("\nCustomer: " in row["prompt"] and row["prompt"].startswith("Customer: "))


def _request(night: Night, prompt: str, draft: filters.Draft, seed: int) -> llm.Request:
    shown = [json.dumps(" ".join(row["prompt"].split()), ensure_ascii=False) for row in draft.sources]
    label = rendering.words(night.usecase, draft.parent["label"] or "this")
    places = {"{label}": label, "{message}": shown[-1], "{examples}": "\n".join(shown)}
    written = PLACES.sub(lambda match: places[match[0]], prompt)  # in one pass: a message may hold a place's name
    # Few sizes, for the embedded model answers requests of one size together.
    tokens = min(-(-(2 * len(text.words(draft.parent["prompt"])) + 8) // 32) * 32, 2 * night.usecase.synthesis.max_words)
    return Request("", written, tokens, night.usecase.synthesis.temperature, seed, item=draft.parent["example_id"])


def _row(night: Night, draft: filters.Draft, message: str) -> dict:
    parent = draft.parent
    assert parent["split"] == "train", f"{parent['example_id']} is not a train row"
    parts = (message, parent["response"] or "", parent["label"] or "")
    return {
        "example_id": hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16],
        "group_id": parent["group_id"],
        "subject_id": None,
        "prompt": message,
        "response": parent["response"],
        "label": parent["label"],
        "source": "synthetic",
        "parent_id": parent["example_id"],
        "split": parent["split"],
        "night": night.night,
        "day": night.night,
        "attributes": "{}",
        "method": draft.method,
    }


def _model(endpoint: Endpoint) -> str:
    return endpoint.model if endpoint.kind == "openai" else embedded.NAME


def _endpoint(night: Night) -> Endpoint:
    name = night.usecase.synthesis.endpoint
    if name not in night.profile.endpoints:
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: synthesis.endpoint: the profile has no endpoint {name!r}; "
            f"allowed: {', '.join(sorted(night.profile.endpoints))}"
        )
    return night.profile.endpoints[name]


def _prompt(night: Night) -> str:
    name = night.usecase.synthesis.prompt
    prompt = night.usecase.prompt(name)
    if "{examples}" not in prompt and "{message}" not in prompt:
        where = f"prompts/{name} has no place {{message}} or {{examples}}" if name else "no file is named"
        raise UserError(
            f"{night.usecase.folder}/usecase.yaml: synthesis.prompt: {where}: "
            "name a file whose text holds {message} or {examples}, and {label} if it helps"
        )
    return prompt
