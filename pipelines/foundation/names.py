"""Names of people by the words around them: precision first, for a bank's `May` and `Apple Pay` are no people.

First and last names come from Faker's lists (14 locales). A name stands after an introduction ("my name is", "account
holder:"), after a title, as a signature, or as a known first name before a capitalised word.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

LOCALES = ("en_GB", "en_US", "en_IN", "en_IE", "en_NZ", "de_DE", "pl_PL", "es_ES", "it_IT", "fr_FR", "nl_NL", "pt_PT", "sv_SE", "cs_CZ")
UPPER = r"(?:(?:Mc|Mac|O['’]|D['’]|De|Di|Le|La)?[A-Z][a-zà-öø-ÿß-ɏ]+|[ÀÁÂÄÅÇÈÉÊÍÑÓÖØÚÜŁŚŠŽŻĆČ][a-zà-öø-ÿß-ɏ]+)"
WORD = rf"{UPPER}(?:['’-]{UPPER})*"
FULL = rf"{WORD}(?:[ ]+[A-Z]\.)?(?:[ ]+(?:(?:van|von|de|der|den|da|di|del|bin|el)[ ]+){{0,2}}{WORD}){{0,3}}"
LOWER = r"[a-zà-öø-ÿß-ɏ]{2,}(?:['’-][a-zà-öø-ÿß-ɏ]+)?"

# The introduction itself tells that a name follows, known or not.
STRONG = re.compile(
    rf"\b(?i:my (?:full )?name(?: is|['’]s|:)|(?:full )?name:|(?:account|card) ?holder(?: is|['’]s|:)?|note it under|in the name of"
    rf"|signed by|call me|addressed to|belongs to)[ ]+(?i:(?:mr|mrs|ms|miss|dr)\b\.?[ ]+)?(?P<name>{FULL})"
)
# The introduction may go on with anything: only a known first name and a second word, or what closes the phrase, count.
WEAK = re.compile(
    rf"\b(?i:i['’]m|i am|this is|it['’]s|here is|speaking with|spoke to|speak to|ask for)[ ]+"
    rf"(?P<name>{FULL})(?P<close>(?:[ ]+(?:writing|speaking|here)\b)?)"
)
SMALL = re.compile(
    rf"\b(?i:my (?:full )?name(?: is|['’]s)|this is)[ ]+(?P<name>{LOWER}(?:[ ]+{LOWER})?)(?P<close>(?:[ ]+(?:writing|speaking)\b)?)"
)
TITLE = re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|MR|MRS|MS)\b\.?[ ]+(?P<name>{FULL})")
SIGNED = re.compile(
    rf"(?:\b(?i:regards|thanks|thank you|cheers|best|best wishes|sincerely|yours|yours truly|yours faithfully|respectfully|love)"
    rf"[,.!]?(?P<gap>\s+)"
    rf"|[ \n][-–—][ ]?)(?P<name>{FULL})[ ]*[.!]*[ ]*(?:$|\n)"
)
# Every name in capitals that is found has a word after a space or a dash; without one nothing else need be tried.
HINT = re.compile(r"[\s–—-](?:[A-Z][a-zà-öø-ÿß-ɏ]|[OD]['’]|[ÀÁÂÄÅÇÈÉÊÍÑÓÖØÚÜŁŚŠŽŻĆČ])")
SMALL_HINT = re.compile(r"(?i)\bmy (?:full )?name|this is")
PAIR = re.compile(rf"(?<![\w<]){FULL}")
PLACES = (
    "Africa America Australia Austria Belgium Berlin Birmingham Bristol Britain Canada Cardiff China Croatia Denmark Dublin "
    "Dubai Edinburgh England Europe Exeter France Germany Glasgow Greece Hungary India Ireland Italy Japan Leeds Liverpool "
    "London Madrid Manchester Margate Mexico Morocco Netherlands Norway Paris Plymouth Poland Portugal Rome Romania Scotland "
    "Singapore Spain Sweden Switzerland Turkey Vienna Wales York Kingdom States Kong Zealand"
)
CALENDAR = (
    "January February March April May June July August September October November December Monday Tuesday Wednesday Thursday "
    "Friday Saturday Sunday Christmas Easter"
)
BUSINESS = (
    "Account Address Agent Airport Amazon Amex American Android App Apple Avenue Bank Banking Bill Branch Card Cards Case "
    "Cash Chase Code College Company Court Credit Customer Customers Debit Department Direct Drive Express Galaxy Google "
    "Group Harbour Help Hospital Hotel Inc Instant Insurance Internet IPhone Ltd Master Mastercard Market Microsoft Mobile "
    "Money Monzo Mortgage Office Online Park Pay Payment Paypal Pin Post Prime Revolut Road Samsung School Security Service "
    "Services Shop Store Street Support Team Transfer Travel University Vale Visa Wallet Water Western Union Windows"
)
GRAMMAR = (
    "A All Also Am An And Any Are As Asap At Be Because Best But By Can Cheers Could Dear Did Do Does Dont For From Good Had "
    "Has Have He Hello Her Hey Hi His How I If In Is It Its Just Kind Madam Many Me My Need New No Not Now Of On Only Or Our "
    "Please Question Regards She Since Sir So Some Sorry Still Thank Thanks That The Their Then There They This To Today "
    "Tomorrow Very Was We Well Were What When Where Which Who Why Will With Would Yes You Your Yours"
)
NEVER = frozenset(f"{PLACES} {CALENDAR} {BUSINESS} {GRAMMAR}".split())
# First names that are words, places or brands as well: they count before a known last name only.
TWOFOLD = (
    "Ace Adventure Alexandria Amber Angel Art Asia Aurora Austin Autumn Brooklyn Carol Cash Charity Charlotte Chase Chelsea "
    "Cherry China Christian Clay Crystal Dale Dallas Dawn Destiny Devon Diamond Dick Drew Drive Eden Faith Florence Frank "
    "Gene Georgia Ginger Glen Grace Grant Guy Hazel Heather Holly Hope Hunter India Iris Ivy Jack Jade Jasmine Jordan Joy "
    "Lance Lane Laurel Lily Lincoln Luna Madison Mark Mason Max Mercedes Merry Milan Miles Misty Nova Olive Orlando Page "
    "Patience Pearl Penny Phoenix Pierce Precious Ray Reed Rich Rob Robin Rose Ruby Rusty Sage Savannah Skip Sky Stone Summer "
    "Sunny Sydney Terry Tiffany Trinity Troy Victoria Violet Virginia Wade Ward Will Willow Winter"
)
BOTH = frozenset(TWOFOLD.split())


class Names(NamedTuple):
    """Known names, case folded."""

    first: frozenset[str]
    last: frozenset[str]


@lru_cache(maxsize=1)
def known() -> Names:
    """Faker's lists, read in about half a second, once."""
    from importlib import import_module

    providers = [import_module(f"faker.providers.person.{locale}").Provider for locale in LOCALES]
    first = {name.casefold() for provider in providers for name in provider.first_names}
    last = {name.casefold() for provider in providers for name in provider.last_names}
    return Names(frozenset(first), frozenset(last))


def find(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each name; the same name may be given twice."""
    if SMALL_HINT.search(text):
        yield from _small(text)
    if not HINT.search(text):
        return
    for pattern in (STRONG, TITLE):
        for match in pattern.finditer(text):
            if kept := _trim(match["name"]):
                yield match.start("name"), match.start("name") + len(kept)
    for match in SIGNED.finditer(text):
        kept = _trim(match["name"])
        alone = "\n" in (match["gap"] or "")  # a line of its own after the greeting
        if kept == match["name"] and (" " in kept or alone or kept.casefold() in known().first):
            yield match.span("name")
    for match in WEAK.finditer(text):
        kept = _trim(match["name"])
        first = kept.split(" ")[0].casefold() in known().first
        if kept and (first, " " in kept, bool(match["close"])).count(True) > 1:
            yield match.start("name"), match.start("name") + len(kept)
    for match in PAIR.finditer(text):
        yield from _pairs(match[0], match.start())


def _trim(name: str) -> str:
    """The words before the first that never is part of a name."""
    parts = name.split(" ")
    stop = next((place for place, part in enumerate(parts) if part in NEVER), len(parts))
    return " ".join(parts[:stop])


def _small(text: str) -> Iterator[tuple[int, int]]:
    """Names in small letters: a known first name, with the word after it where that is a known last name or closes the phrase."""
    for match in SMALL.finditer(text):
        first, _, second = match["name"].partition(" ")
        if first not in known().first or first.capitalize() in BOTH | NEVER:
            continue
        whole = second in known().last or match["close"]
        if whole or match[0].casefold().startswith("my"):
            yield match.start("name"), match.start("name") + (len(match["name"]) if whole else len(first))


def _pairs(run: str, start: int) -> Iterator[tuple[int, int]]:
    """Within a run of capitalised words: a known first name up to the run's end."""
    parts = list(re.finditer(r"\S+", run))
    for place, part in enumerate(parts[:-1]):
        if part[0].casefold() not in known().first or part[0] in NEVER:
            continue
        kept = _trim(run[part.start() :])
        rest = kept.split(" ")[1:]
        if not rest or (part[0] in BOTH and rest[-1].casefold() not in known().last):
            continue
        if place and parts[place - 1][0] not in NEVER and parts[place - 1][0].casefold() not in known().last:
            return  # the middle of a longer title, say of a shop
        yield start + part.start(), start + part.start() + len(kept)
        return
