"""Find personal data in a text: Microsoft Presidio's recognisers called directly, and names by their context (`names`).

Presidio decides what is an IBAN, a card (Luhn), a social security number, an IP address and a telephone number of the
regions in `privacy.phone_regions`. Added here: e-mail addresses of any top-level domain, cards of 12 to 19 digits,
and telephone numbers that are well formed though not in use, or of no listed region but introduced as one.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from pipelines.errors import UserError
from pipelines.foundation import names, written
from pipelines.foundation.written import Span
from pipelines.sections import Action, Kind, Privacy

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

PLACEHOLDER = re.compile(r"<(?P<type>[A-Z]+)(?:_\d+)?>")
ADDRESS = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")  # what the e-mail pattern is shown: its own time grows with the square of the text
IP_HINT = re.compile(r"\d\.\d{1,3}\.|::|:[0-9A-Fa-f]{1,4}:")
CARD = r"(?<![\w.,£$€-])(?:0604|[2-6]\d{3})(?:[ -]?\d){8,15}(?![\w-]|[.,]\d)"
NAME_SCORE = 0.6


class Detector(NamedTuple):
    """What `find` needs; Presidio and the lists of names are loaded (seconds) at the first text that needs them."""

    types: frozenset[str]
    regions: tuple[str, ...]
    min_score: float


class Shield(NamedTuple):
    """What `hide` needs: the detector, and what becomes of each type."""

    detector: Detector
    actions: dict[str, Action]


def build(privacy: Privacy) -> Detector:
    """The detector of a use case; raises UserError for a telephone region that does not exist."""
    import phonenumbers

    if wrong := sorted(set(privacy.phone_regions) - set(phonenumbers.SUPPORTED_REGIONS)):
        raise UserError(f"privacy.phone_regions: {', '.join(wrong)} is no region; allowed are two capital letters such as GB, US, DE")
    return Detector(frozenset(privacy.entities), tuple(privacy.phone_regions), privacy.min_score)


def shield(privacy: Privacy, purpose: Literal["hosted", "report"]) -> Shield:
    """What stands before a text that leaves the house, or is shown; raises UserError as `build` does."""
    return Shield(build(privacy), {kind: privacy.action(purpose, kind) for kind in get_args(Kind)})


def hide(text: str, shield: Shield) -> str:
    """The text with its findings, and the placeholders that it holds already, as the policy wants them.

    A finding that has no number yet is given none: whoever numbers it would have to know its conversation.
    """
    text = replace(text, find(text, shield.detector), lambda span, value: placed(shield.actions[span.type], span.type, value))

    def again(match: re.Match[str]) -> str:
        action = shield.actions.get(match["type"], "keep")
        return match[0] if action in ("keep", "pseudonym") else placed(action, match["type"], match[0])

    return PLACEHOLDER.sub(again, text)


def number_again(text: str, source: str) -> str:
    """What a model made of a hidden source: its <NAME> is the source's <NAME_2> again, where the source has only that one."""
    numbered: dict[str, set[str]] = {}
    for match in PLACEHOLDER.finditer(source):
        numbered.setdefault(match["type"], set()).add(match[0])
    only = {f"<{kind}>": found.pop() for kind, found in numbered.items() if len(found) == 1}
    return PLACEHOLDER.sub(lambda match: only.get(match[0], match[0]), text)


def placed(action: Action, kind: str, value: str) -> str:
    """What stands in the place of a finding without a number."""
    return {"keep": value, "pseudonym": f"<{kind}>", "type": f"<{kind}>", "drop": ""}[action]


def find(text: str, detector: Detector, known: Iterable[Span] = ()) -> list[Span]:
    """Findings in order, none overlapping: the longest stands, then the one with the highest score.

    A placeholder such as <EMAIL> that the text holds already is left alone. `known` are findings that only what was said
    before can tell.
    """
    taken = [match.span() for match in PLACEHOLDER.finditer(text)]
    kept: list[Span] = []
    found = (span for span in (*_all(text, detector), *known) if span.score >= detector.min_score and span.type in detector.types)
    for span in sorted(found, key=lambda span: (span.start - span.end, -span.score, span.start)):
        if all(span.end <= start or end <= span.start for start, end in taken):
            kept.append(span)
            taken.append((span.start, span.end))
    return sorted(kept, key=lambda span: span.start)


def replace(text: str, spans: list[Span], name: Callable[[Span, str], str]) -> str:
    """The text with `name(finding, its words)` in the place of each finding."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], name(span, text[span.start : span.end])]
        at = span.end
    return "".join([*parts, text[at:]])


def _all(text: str, detector: Detector) -> Iterator[Span]:
    """Every finding; recognisers that cannot find anything in this text are not asked."""
    regions = detector.regions
    for chunk in ADDRESS.finditer(text) if "@" in text else ():
        yield from _ask(regions, "EMAIL", chunk[0], chunk.start())
    if IP_HINT.search(text):
        yield from _ask(regions, "IP", text)
    if "com" in text or "dot" in text or "DOT" in text or "Dot" in text:
        yield from written.emails(text)
    if written.DIGITS.search(text):
        capital = text.upper()  # people write an IBAN in small letters; a letter such as ß would move the offsets
        yield from _ask(regions, "IBAN", capital if len(capital) == len(text) else text)
        yield from (span for kind in ("CARD", "SSN") for span in _ask(regions, kind, text))
        for span in (*_ask(regions, "PHONE", text), *written.numbers(text)):
            if span.type != "PHONE" or written.sound(text, span):
                yield span
    if "NAME" in detector.types:
        yield from (Span("NAME", start, end, NAME_SCORE) for start, end in names.find(text))


def _ask(regions: tuple[str, ...], kind: str, text: str, offset: int = 0) -> Iterator[Span]:
    recogniser = _recognisers(regions)[kind]
    for found in recogniser.analyze(text, recogniser.supported_entities, None):
        yield Span(kind, found.start + offset, found.end + offset, round(found.score, 3))


@lru_cache(maxsize=4)
def _recognisers(regions: tuple[str, ...]) -> "dict[str, EntityRecognizer]":
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
        "PHONE": known.PhoneRecognizer(supported_regions=regions),
    }
