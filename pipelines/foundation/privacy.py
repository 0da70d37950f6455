"""Find personal data in a text: Microsoft Presidio's recognisers called directly, and names by their context (`names`).

Presidio decides what is an IBAN, a card (Luhn), a social security number, an IP address and a telephone number of the
regions in `privacy.phone_regions`. Added here: e-mail addresses of any top-level domain, cards of 12 to 19 digits,
and telephone numbers that are well formed though not in use, or of no listed region but introduced as one.
"""

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import names
from pipelines.sections import Privacy

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

PLACEHOLDER = re.compile(r"<[A-Z]+>")
ADDRESS = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")  # what the e-mail pattern is shown: its own time grows with the square of the text
IP_HINT = re.compile(r"\d\.\d{1,3}\.|::|:[0-9A-Fa-f]{1,4}:")
DIGITS = re.compile(r"\d(?:[^\d\n]{0,3}\d){5}")  # the shortest telephone number
CARD = r"(?<![\w.,£$€-])[2-6]\d{3}(?:[ -]?\d){8,15}(?![\w-]|[.,]\d)"
SSN = re.compile(r"(?i:ssn|social security(?: number| no\.?)?)\W{0,3}(?:is|was|:|#)?\s{0,2}(?P<span>\d{9})(?!\d)")
NAME_SCORE = 0.6
STREET = re.compile(r"(?: [A-Z]\w+){1,3} (?:Street|St|Lane|Ln|Road|Rd|Avenue|Ave|Court|Ct|Drive|Dr|Way|Place|Square)\b")
PHONES = (
    re.compile(r"(?<![\w+£$€.,-])\+\d{1,3}[ .-]?(?:\(0\)[ .-]?)?(?:\(?\d{1,5}\)?[ ./-]{0,2}){2,5}\d{2,4}(?![\w-])"),
    re.compile(r"(?<![\w+£$€.,/-])(?=(?:\D{0,2}\d){10})\(?0[1-9]\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w+£$€.,/-])(?:1[ .-])?\(?[2-9]\d{2}\)?[ .-]{1,2}\d{3}[ .-]\d{4}(?:\s?x\d{1,5})?(?![\w-]|[.,/]\d)"),
    re.compile(r"(?<![\w+£$€.,/-])555[ -]01\d{2}(?![\w-]|[.,/]\d)"),
)
SPOKEN = re.compile(
    r"(?i:\b(?:phone|telephone|tel|mobile|cell|fax|whatsapp|ring|call|calling|text me|reach me|contact)\b(?: (?:number|no\.?))?"
    r"(?:[ :.,#-]+[a-z']+){0,4}[ :.,#-]{1,3})(?P<span>[+(]?\d(?:[ ().-]{0,2}\d){5,13})(?![\w-]|[.,/]\d)"
)


class Span(NamedTuple):
    """One finding: text[start:end], in characters."""

    type: str
    start: int
    end: int
    score: float  # Presidio's, from 0 to 1


class Detector(NamedTuple):
    """What `find` needs, made once by `build`."""

    types: frozenset[str]
    recognisers: "dict[str, EntityRecognizer]"
    names: names.Names
    min_score: float


def build(privacy: Privacy) -> Detector:
    """Load Presidio and the lists of names (seconds); raises UserError for a telephone region that does not exist."""
    import phonenumbers

    if wrong := sorted(set(privacy.phone_regions) - set(phonenumbers.SUPPORTED_REGIONS)):
        raise UserError(f"privacy.phone_regions: {', '.join(wrong)} is no region; allowed are two capital letters such as GB, US, DE")
    return Detector(frozenset(privacy.entities), _recognisers(privacy), names.load(), privacy.min_score)


def find(text: str, detector: Detector) -> list[Span]:
    """Findings in order, none overlapping: the longest stands, then the one with the highest score.

    A placeholder such as <EMAIL> that the text holds already is left alone.
    """
    taken = [match.span() for match in PLACEHOLDER.finditer(text)]
    kept: list[Span] = []
    found = (span for span in _all(text, detector) if span.score >= detector.min_score and span.type in detector.types)
    for span in sorted(found, key=lambda span: (span.start - span.end, -span.score, span.start)):
        if all(span.end <= start or end <= span.start for start, end in taken):
            kept.append(span)
            taken.append((span.start, span.end))
    return sorted(kept, key=lambda span: span.start)


def replace(text: str, spans: list[Span]) -> str:
    """The text with each finding as a typed placeholder."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], f"<{span.type}>"]
        at = span.end
    return "".join([*parts, text[at:]])


def _all(text: str, detector: Detector) -> Iterator[Span]:
    """Every finding; recognisers that cannot find anything in this text are not asked."""
    ask = detector.recognisers
    for chunk in ADDRESS.finditer(text) if "@" in text else ():
        yield from _ask(ask["EMAIL"], "EMAIL", chunk[0], chunk.start())
    if IP_HINT.search(text):
        yield from _ask(ask["IP"], "IP", text)
    if DIGITS.search(text):
        yield from (span for kind in ("IBAN", "CARD", "SSN") for span in _ask(ask[kind], kind, text))
        for span in (*_ask(ask["PHONE"], "PHONE", text), *_written(text)):
            if sum(map(str.isdigit, text[span.start : span.end])) >= 6 and not STREET.match(text, span.end):
                yield span
    if "NAME" in detector.types:
        yield from (Span("NAME", start, end, NAME_SCORE) for start, end in names.find(text, detector.names))


def _ask(recogniser: "EntityRecognizer", kind: str, text: str, offset: int = 0) -> Iterator[Span]:
    for found in recogniser.analyze(text, recogniser.supported_entities, None):
        yield Span(kind, found.start + offset, found.end + offset, round(found.score, 3))


def _written(text: str) -> Iterator[Span]:
    """Telephone and social security numbers that Presidio does not take for such."""
    for pattern in PHONES:
        for match in pattern.finditer(text):
            if 7 <= sum(map(str.isdigit, match[0])) <= 15:
                yield Span("PHONE", *match.span(), 0.45)
    for match in SPOKEN.finditer(text):
        yield Span("PHONE", *match.span("span"), 0.42)
    for match in SSN.finditer(text):
        yield Span("SSN", *match.span("span"), 0.5)


def _recognisers(privacy: Privacy) -> "dict[str, EntityRecognizer]":
    # Presidio's package imports spaCy, and through it torch and transformers, for recognisers that are not used here.
    # To it they are optional: hidden while it is imported, that takes 2.3 s of CPU rather than 12.
    hidden = [name for name in ("torch", "transformers") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        from presidio_analyzer import Pattern, PatternRecognizer, predefined_recognizers
    finally:
        for name in hidden:
            del sys.modules[name]
    known = predefined_recognizers
    # Presidio's own e-mail check asks the network for a list of domains once, and refuses those that are not on it.
    email = PatternRecognizer("EMAIL_ADDRESS", patterns=known.EmailRecognizer.PATTERNS)
    cards = [*known.CreditCardRecognizer.PATTERNS, Pattern("12 to 19 digits in any groups", CARD, 0.3)]
    return {
        "EMAIL": email,
        "IP": known.IpRecognizer(),
        "IBAN": known.IbanRecognizer(),
        "CARD": known.CreditCardRecognizer(patterns=cards),
        "SSN": known.UsSsnRecognizer(),
        "PHONE": known.PhoneRecognizer(supported_regions=tuple(privacy.phone_regions)),
    }
