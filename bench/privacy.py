"""How well personal data is found, on public data with known spans, as a Markdown table: `python -m bench.privacy`.

A value is found where findings of its type cover every letter of it; a finding is right where it meets a value of its
type. Intervals are Wilson's, 95 %. The sentences of presidio_research come from few frames, which two of its three files
share: they are shown in halves that have no frame in common. Neither half is unseen: telephone numbers of
all three files, and of MultiDoGO's domains, were looked at when the patterns were written.
MultiDoGO's numbers were made up by crowd workers (hardly any has a valid check digit) and were stripped of punctuation;
one of fewer digits than seven means nothing without the question that it answers, which is not in the data.
There a value counts as found whatever type it was taken for, and a finding is right where it meets any personal slot.
"""

import csv
import hashlib
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipelines.foundation import privacy
from pipelines.foundation.proportions import wilson
from pipelines.sections import Privacy
from pipelines.settings import ROOT

DATA = ROOT.parent / "shared" / "data"
FILES = ("synth_dataset_v2", "generated_large", "generated_small")
TYPES = {
    **{"EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "CREDIT_CARD": "CARD", "US_SSN": "SSN"},
    **{"IP_ADDRESS": "IP", "PERSON": "NAME"},
}
NUMBERS = ("card_number", "phone_number", "ssn", "account_number")
PERSONAL = (*NUMBERS, "email_address", "name", "address", "username", "password", "booking_confirmation_number", "target_account_number")
LEAST = 7  # digits


class Text(NamedTuple):
    """One text and what is in it."""

    text: str
    spans: list[tuple[str, int, int]]  # type or slot, start, end
    half: str


class Figures(NamedTuple):
    """Counts of one type."""

    values: int
    found: int
    findings: int
    right: int


def main() -> None:
    """Print the table; data that is not there is left out."""
    detector = privacy.build(Privacy())
    print("| data | type | values | recall | findings | precision |\n|---|---|---|---|---|---|")
    for half in ("first half", "second half", "all"):
        texts = [text for text in presidio() if half in (text.half, "all")]
        for kind, figures in measure(texts, detector).items():
            show(f"presidio_research, {half}", kind, figures)
    for slot, figures in crowd(detector).items():
        show("multidogo", slot, figures)
    path = DATA / "banking77" / "train.csv"
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            texts = [row["text"] for row in csv.DictReader(lines)]
        started = time.process_time()
        touched = sum(bool(privacy.find(text, detector)) for text in texts)
        rate = len(texts) / (time.process_time() - started)
        print(
            f"\nbanking77: {touched} of {len(texts):,} rows touched ({share(touched, len(texts))}); {rate:,.0f} rows a second on one core"
        )


def presidio() -> Iterator[Text]:
    """The sentences of presidio_research."""
    for name in FILES:
        path = DATA / "presidio_research" / f"{name}.json"
        for row in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else ():
            frame = " ".join(re.sub(r"\{\{.*?\}\}", " ", row["masked"] or row["full_text"]).casefold().split())
            half = ("first half", "second half")[hashlib.sha256(frame.encode()).digest()[0] % 2]
            found = [
                (TYPES[span["entity_type"]], span["start_position"], span["end_position"])
                for span in row["spans"]
                if span["entity_type"] in TYPES
            ]
            yield Text(row["full_text"], found, half)


def multidogo() -> Iterator[Text]:
    """The customers' turns of MultiDoGO whose tokens and slots match; the spans are runs of one slot."""
    for path in sorted((DATA / "multidogo").glob("*/*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                words, slots = row["utterance"].split(), row["slot-labels"].split()
                if len(words) == len(slots):
                    yield Text(" ".join(words), list(_runs(words, slots)), path.parent.name)


def _runs(words: Sequence[str], slots: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    at, begun = 0, 0
    for place, (word, slot) in enumerate(zip(words, slots, strict=True)):
        if not place or slots[place - 1] != slot:
            begun = at
        at += len(word) + 1
        if slot != "O" and (place + 1 == len(slots) or slots[place + 1] != slot):
            yield slot, begun, at - 1


def measure(texts: Sequence[Text], detector: privacy.Detector) -> dict[str, Figures]:
    """Figures by type."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        findings = privacy.find(text.text, detector)
        for kind, start, end in text.spans:
            counts[kind]["values"] += 1
            counts[kind]["found"] += covered(text.text, start, end, [one for one in findings if one.type == kind])
        for one in findings:
            counts[one.type]["findings"] += 1
            counts[one.type]["right"] += any(kind == one.type and one.start < end and start < one.end for kind, start, end in text.spans)
    return {kind: Figures(**{name: counts[kind][name] for name in Figures._fields}) for kind in TYPES.values()}


def crowd(detector: privacy.Detector) -> dict[str, Figures]:
    """Figures by slot; the findings are those in texts with such a slot, and under `all numbers` those of every number type."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in multidogo():
        findings = privacy.find(text.text, detector)
        for slot, start, end in text.spans:
            long = sum(map(str.isdigit, text.text[start:end])) >= LEAST
            if (slot in NUMBERS and long) or slot == "email_address":
                counts[slot]["values"] += 1
                counts[slot]["found"] += covered(text.text, start, end, findings)
        for one in findings:
            kind = "names" if one.type == "NAME" else "e-mail" if one.type == "EMAIL" else "numbers"
            counts[kind]["findings"] += 1
            counts[kind]["right"] += any(slot in PERSONAL and one.start < end and start < one.end for slot, start, end in text.spans)
    return {kind: Figures(**{name: found[name] for name in Figures._fields}) for kind, found in sorted(counts.items())}


def covered(text: str, start: int, end: int, findings: Sequence[privacy.Span]) -> bool:
    """Whether every letter and digit lies in a finding."""
    return all(any(one.start <= at < one.end for one in findings) for at in range(start, end) if text[at].isalnum())


def show(data: str, kind: str, figures: Figures) -> None:
    """One line of the table."""
    recall, precision = share(figures.found, figures.values), share(figures.right, figures.findings)
    print(f"| {data} | {kind} | {figures.values} | {recall} | {figures.findings} | {precision} |")


def share(count: int, of: int) -> str:
    """A share with its interval."""
    if not of:
        return "–"
    low, high = wilson(count, of, 0.025)
    return f"{count / of:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
