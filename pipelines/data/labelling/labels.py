"""A budget of labels: which rows to ask people about, which labels look wrong, and what people answered.

    python -m pipelines label suggest --usecase support --night 2026-11-20 --n 50 --out queue.csv
    python -m pipelines label errors --usecase support --night 2026-11-20 --out queue.csv
    python -m pipelines label import --usecase support --file queue.csv

Only train rows go out: a sealed row that people look at is sealed no more. Nothing is changed without a person, and then not
in place: `pipelines.foundation.corrections` applies the answers where rows are read. A queue holds what customers wrote, scrubbed;
it is the reader's file, and erasure does not reach it.
"""

import datetime
import logging
from collections import Counter, defaultdict
from pathlib import Path

from pipelines.data.labelling import confident, label_files, teaching
from pipelines.data.labelling.label_files import Entry, Read
from pipelines.errors import UserError
from pipelines.foundation import corrections
from pipelines.foundation.step import Night, open_night
from pipelines.sections import UseCase

TOLD = 20  # refused answers that are told one by one
log = logging.getLogger("pipelines.label")


def suggest(usecase: str, profile: str, night: str, n: int, out: str) -> dict:
    """Write a queue of the `n` train rows whose labels would teach most; returns counts, by reason too.

    Rows without a label come before all others; where every row has one, a second opinion is asked for. Rows that a person has
    answered are left out. Raises UserError for a night that was not split, no row to ask about, too few labels, and a
    file that cannot be written.
    """
    opened, path = open_night(usecase, profile, night), _path(out)
    rows = _train(opened)
    answered = corrections.answers(opened.lake)
    labelled = [row for row in rows if row["label"] is not None]
    pool = [row for row in rows if row["label"] is None] or [row for row in labelled if row["example_id"] not in answered]
    try:
        picks = teaching.choose(pool, labelled, _predictions(opened), n)
    except ValueError as error:
        raise UserError(f"label suggest: {error}; {len(labelled)} train rows up to {opened.night} have a label") from None
    rows_of = (pick.row for pick in picks)
    about = ((row["example_id"], row["night"], "suggest", row["prompt"], row["label"] or "") for row in rows_of)
    entries = [Entry(*told, *pick[1:]) for told, pick in zip(about, picks, strict=True)]
    label_files.write(path, entries, _allowed(opened.usecase, rows))
    log.info("%s holds %d rows that customers wrote: keep it no longer than needed", path, len(entries))
    reasons = Counter(pick.why.partition(" ")[0].rstrip(":") for pick in picks)
    return {"file": str(path), "rows": len(entries), "pool": len(pool), "labelled": len(labelled), "why": dict(sorted(reasons.items()))}


def find_errors(usecase: str, profile: str, night: str, out: str) -> dict:
    """Write a queue of the train rows whose label looks wrong, the surest first; returns counts, by pair of labels too.

    A row that a person has answered is not asked about again. Raises UserError as `suggest` does.
    """
    opened, path = open_night(usecase, profile, night), _path(out)
    rows = _train(opened)
    labelled = [row for row in rows if row["label"] is not None]
    texts, labels, groups = ([row[name] for row in labelled] for name in ("prompt", "label", "group_id"))
    try:
        judged = [confident.out_of_fold(texts, labels, groups, features) for features in ("words", "characters")]
    except ValueError as error:
        raise UserError(f"label errors: {error}; {len(labelled)} train rows up to {opened.night} have a label") from None
    doubts, answered = confident.find(confident.joined(*judged), labels), corrections.answers(opened.lake)
    open_ = [doubt for doubt in doubts if labelled[doubt.place]["example_id"] not in answered]
    entries = [_entry(labelled[doubt.place], doubt) for doubt in open_]
    label_files.write(path, entries, _allowed(opened.usecase, rows))
    log.info("%s holds %d rows that customers wrote: keep it no longer than needed", path, len(entries))
    pairs = Counter(f"{doubt.given} -> {doubt.proposed}" for doubt in open_)
    counts = {"rows": len(entries), "answered_before": len(doubts) - len(open_), "judged": len(labelled)}
    return {"file": str(path)} | counts | {"pairs": dict(pairs.most_common(10))}


def import_answers(usecase: str, profile: str, file: str, by: str) -> dict:
    """Keep people's answers in the table `labels`; returns counts: every line of the file is in exactly one of them.

    accepted (changed or confirmed), known (the newest answer already), repeated (said twice in the file), unanswered, and
    refused by reason: no_id, unknown_id, sealed_row, unknown_label, changed_since, conflicting_answers, and those of
    `label_files`. `problems` names the places of the first refused. Raises UserError where the file cannot be read.
    """
    opened = open_night(usecase, profile, "9999-12-31")
    said = label_files.read(Path(file))
    rows = opened.lake.read("examples", opened.lake.version("examples")).to_pylist()
    by_id = {row["example_id"]: row for row in corrections.corrected(opened.lake, rows)}
    allowed, answers = set(_allowed(opened.usecase, rows)), corrections.answers(opened.lake)
    labels: dict[str, set[str]] = defaultdict(set)
    for one in said:
        if one.label and not one.problem:
            labels[one.example_id].add(one.label)
    counts: Counter[str] = Counter(dict.fromkeys(("changed", "confirmed", "known", "repeated", "unanswered"), 0))
    refused: Counter[str] = Counter()
    problems, kept = [], {}
    for one in said:
        problem = one.problem or _problem(one, by_id.get(one.example_id), labels[one.example_id], allowed, answers)
        if problem:
            refused[problem] += 1
            problems.append({"place": one.place, "reason": problem})
        elif one.label is None:
            counts["unanswered"] += 1
        elif one.example_id in kept:
            counts["repeated"] += 1
        elif one.example_id in answers and answers[one.example_id].label == one.label:
            counts["known"] += 1
        else:
            row = by_id[one.example_id]
            counts["confirmed" if one.label == row["label"] else "changed"] += 1
            kept[one.example_id] = _answer(row, one, by)
    version = opened.lake.append("labels", list(kept.values())) if kept else opened.lake.version("labels")
    figures = {"read": len(said), "accepted": len(kept)} | counts | {"refused": dict(sorted(refused.items()))}
    return {"file": file, "labels": version} | figures | {"problems": problems[:TOLD]}


def _problem(one: Read, row: dict | None, said: set[str], allowed: set[str], answers: dict[str, corrections.Answer]) -> str:
    """Why an answer cannot be kept, empty where it can."""
    if row is None:
        return "unknown_id"
    if row["split"] != "train":
        return "sealed_row"
    if one.label is None:
        return ""
    if len(said) > 1:
        return "conflicting_answers"
    if one.label not in allowed:
        return "unknown_label"
    newest = answers.get(one.example_id)
    same = newest is not None and newest.label == one.label
    return "" if one.was is None or one.was == (row["label"] or "") or same else "changed_since"


def _answer(row: dict, one: Read, by: str) -> dict:
    known = {"night": row["night"], "example_id": row["example_id"], "label": one.label, "was": row["label"]}
    return known | {"by": by, "at": datetime.datetime.now(datetime.UTC), "source": "error" if one.source == "error" else "suggest"}


def _entry(row: dict, doubt: confident.Doubt) -> Entry:
    why = f"{doubt.proposed} {doubt.confidence:.2f}, {doubt.given} {doubt.confidence - doubt.margin:.2f}"
    return Entry(row["example_id"], row["night"], "error", row["prompt"], doubt.given, doubt.proposed, doubt.margin, why)


def _train(night: Night) -> list[dict]:
    """Train rows up to the night, with people's answers, in an order that only their ids decide."""
    where = f"split = 'train' AND night <= '{night.night}'"
    rows = night.lake.read("examples", night.before("split")["examples"], where=where).to_pylist()
    return corrections.corrected(night.lake, sorted(rows, key=lambda row: row["example_id"]))


def _predictions(night: Night) -> dict[str, str]:
    """The newest label that a tuned model gave each row, where one was asked."""
    where = f"label IS NOT NULL AND night <= '{night.night}'"
    rows = night.lake.read("predictions", night.lake.version("predictions"), ["example_id", "night", "label"], where).to_pylist()
    return {row["example_id"]: row["label"] for row in sorted(rows, key=lambda row: (row["night"], row["label"]))}


def _allowed(usecase: UseCase, rows: list[dict]) -> list[str]:
    """The contract's labels, or where it names none those that rows have."""
    return sorted(usecase.contract.labels or {row["label"] for row in rows if row["label"] is not None})


def _path(out: str) -> Path:
    if not out:
        raise UserError("name the file to write with --out: .csv for a spreadsheet, .json for Label Studio")
    return Path(out)
