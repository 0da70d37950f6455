"""Numbers and addresses as people write them, where no check digit confirms them: by their form and the words around them.

Customers mistype and make up, and chats lose their punctuation. So a number counts as well where it is introduced ("card
number is", "call me on", "my ssn") or named after it ("is my phone number"), has the form of a telephone number, or is all
that a message says. What is introduced as an order, a reference or a date is none of these.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

DIGITS = re.compile(r"\d(?:[^\d\n]{0,3}\d){5}")  # the shortest telephone number
END = r"(?!\w|-\d|[.,/]\d)"
EXT = r"(?:\s?x\d{1,5})?"
NOT_AFTER = r"(?<![\w+£$€#.,/-])"
PHONES = (
    re.compile(rf"(?<![\w+£$€.,-])\+\d{{1,3}}[ .-]?(?:\(0\)[ .-]?)?(?:\(?\d{{1,5}}\)?[ ./-]{{0,2}}){{2,5}}\d{{2,4}}{EXT}{END}"),
    re.compile(rf"{NOT_AFTER}(?=(?:\D{{0,2}}\d){{10}})\(?0[1-9]\d{{1,4}}\)?(?:[ .-]?\d{{2,4}}){{2,4}}{END}"),
    re.compile(rf"{NOT_AFTER}(?:(?:00)?1[ .-])?(?:\([2-9]\d{{2}}\)[ .-]{{0,2}}|[2-9]\d{{2}}[ .-]{{1,2}})\d{{3}}[ .-]\d{{4}}{EXT}{END}"),
    re.compile(rf"{NOT_AFTER}555[ -]01\d{{2}}{END}"),
    re.compile(rf"{NOT_AFTER}\(\d{{2,4}}\)[ .-]?\d{{3,4}}[ .-]?\d{{3,4}}{END}"),
    re.compile(rf"{NOT_AFTER}0\d(?:[ .-]\d\d){{4}}{END}"),
    re.compile(rf"{NOT_AFTER}0\d{{1,3}}[ /-]\d{{3}}[ -]\d{{3}}{END}"),
)
BARE = {"PHONE": re.compile(rf"{NOT_AFTER}[2-9]\d{{9}}{END}"), "CARD": re.compile(rf"{NOT_AFTER}\d{{15,19}}{END}")}
_CALL = r"phone|telephone|tel|mobile|cell|landline|fax|whatsapp|ring|dial|call|calling|text me|contact|registered|(?:office|home|work)(?=:)"
_MINE = r"reach (?:me|us|him|her)|(?:my|our|his|her|their) (?:(?:new|old|work|home|office|other) )?number"
SPOKEN = re.compile(
    rf"(?i:\b(?:{_CALL}|{_MINE})\b(?: (?:number|no\.?))?(?:[ :.,#-]+(?!order|ref|account|card)[a-z']+){{0,4}}[ :.,#-]{{1,3}})"
    rf"(?P<span>[+(]?\d(?:[ ().-]{{0,2}}\d){{5,13}}{EXT}){END}"
)
BLOCK = re.compile(  # a line of its own in an address, or one that says which of several telephones it is
    r"(?im)^[ \t]*(?P<span>[+(]?\d(?:[ ().-]{0,2}\d){6,13})(?=[ \t]*(?:$|[-–:(]?[ \t]*(?:office|fax|home|mobile|cell|work|phone|tel)\b))"
)
_IS = r"(?:[ .:#-]*(?:number|no|num|nr|details?))?[ .:#-]*(?:(?:is|was|as|are)\b)?[ .:#-]*"
INTRODUCED = {
    "IBAN": re.compile(rf"(?i)\biban{_IS}(?P<span>[A-Z]{{2}}\d\d ?[A-Z0-9]{{4}}(?: ?\d{{1,4}}){{2,8}}){END}"),
    "CARD": re.compile(
        rf"(?i)\b(?:(?:credit|debit|atm|bank|visa|master) ?card|card (?:number|no|num|nr)|credit (?:number|no)|cc){_IS}"
        rf"(?P<span>\d(?:[ -]?\d){{11,21}}){END}"
    ),
    "ACCOUNT": re.compile(rf"(?i)\b(?:account|acct|acc|a/c){_IS}(?P<span>\d(?:[ -]?\d){{5,21}}){END}"),
    "SSN": re.compile(rf"(?i)\b(?:ssn|social(?: security)?){_IS}(?P<span>\d(?:[ -]?\d){{6,8}}){END}"),
}
NAMED = re.compile(  # "9600524545 is my phone number"
    r"(?i)(?P<span>\d(?:[ -]?\d){6,18}) (?:is|this is|its|it's|as|was)(?: (?:my|the|our|his|her))?(?: [a-z]+)?"
    r" (?P<what>card|phone|mobile|cell|contact|account|ssn|social)\b"
)
WHAT = {"card": "CARD", "account": "ACCOUNT", "ssn": "SSN", "social": "SSN"}
ALONE = re.compile(r"\W*(?P<span>\d(?:[ -]?\d){8,21})\W*")
OTHER = re.compile(
    r"(?i)\b(?:order|ref|reference|booking|ticket|invoice|tracking|transaction|payment|case|policy|parcel|confirmation|id)\b\W*(?:\w+\W+){0,2}$"
)
DATE = re.compile(
    r"(?:(?:0\d|1\d|2\d|3[01]){2}(?:19|20)\d\d|(?:19|20)\d\d(?:0\d|1[0-2])(?:[0-2]\d|3[01])|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?![./-]\d))(?!\d)"
)
STREET = re.compile(r"(?: [A-Z]\w+){1,3} (?:Street|St|Lane|Ln|Road|Rd|Avenue|Ave|Court|Ct|Drive|Dr|Way|Place|Square)\b")
ZIP = re.compile(r"\d{5}-\d{4}")
BARE_MAIL = re.compile(
    r"(?i)\b(?:(?:[a-z][\w-]{0,30} )?\d{1,9} )?[\w-]{0,40}(?:gmail|yahoo|hotmail|outlook|icloud|rediffmail)com\b"
)  # without @ and .
_SAID = r"[\w+-]{1,30}(?: (?:dot|underscore) [\w-]{1,30}| ?\((?:dot)\) ?[\w-]{1,30}|\.[\w-]{1,30}){0,3}"
SPOKEN_MAIL = re.compile(
    r"(?i)\b(?!(?:am|is|are|was|be|it|me|us|him|her|them|you|look\w*|shop\w*|buy|bought|paid|order\w*|log\w*|sign\w*|stay\w*) at\b)"
    rf"{_SAID} ?(?:\bat\b|\(at\)|\[at\]) ?[\w-]{{2,30}}(?: dot | ?[(\[]dot[)\]] ?)"
    r"(?:com|net|org|edu|co|de|eu|uk|fr|in|info|example)\b(?: dot uk\b)?"
)


class Span(NamedTuple):
    """One finding: text[start:end], in characters."""

    type: str
    start: int
    end: int
    score: float  # Presidio's, from 0 to 1


def emails(text: str) -> Iterator[Span]:
    """Addresses that lost their signs, or that are spelled out."""
    for pattern in (BARE_MAIL, SPOKEN_MAIL):
        for match in pattern.finditer(text):
            yield Span("EMAIL", *match.span(), 0.45)


def numbers(text: str) -> Iterator[Span]:
    """Cards, accounts, social security and telephone numbers; `sound` still has to be asked."""
    for kind, pattern in INTRODUCED.items():
        for match in pattern.finditer(text):
            yield Span(kind, *match.span("span"), 0.5)
    for match in NAMED.finditer(text):
        yield Span(WHAT.get(match["what"].casefold(), "PHONE"), *match.span("span"), 0.48)
    for pattern in PHONES:
        for match in pattern.finditer(text):
            if 7 <= sum(map(str.isdigit, match[0])) <= 15:
                yield Span("PHONE", *match.span(), 0.45)
    for kind, pattern in BARE.items():
        for match in pattern.finditer(text):
            if not OTHER.search(text, max(0, match.start() - 60), match.start()):
                yield Span(kind, *match.span(), 0.41)
    for match in SPOKEN.finditer(text):
        yield Span("PHONE", *match.span("span"), 0.42)
    for match in BLOCK.finditer(text) if "\n" in text or "-" in text else ():
        if "\n" in text and not ZIP.fullmatch(match["span"]):
            yield Span("PHONE", *match.span("span"), 0.42)
    if (match := ALONE.fullmatch(text)) and not DATE.match(match["span"]):
        digits = sum(map(str.isdigit, match["span"]))
        yield Span("CARD" if digits > 11 else "PHONE" if digits > 9 else "ACCOUNT", *match.span("span"), 0.41)


def sound(text: str, span: Span) -> bool:
    """Whether a telephone number is none of what looks like one: a date, or the number and name of a street."""
    digits = sum(map(str.isdigit, text[span.start : span.end]))
    return digits >= 6 and not STREET.match(text, span.end) and not DATE.match(text, span.start, span.end)
