"""A message as a hurried hand would have typed it: typos, casing and noise, without a model.

Each function takes a text and a seeded draw, and never touches a digit or a placeholder: the label and the reply stay true.
Letters next to each other on a keyboard are those of QWERTY. The kinds of slip and their even mix follow Belinkov and Bisk,
"Synthetic and Natural Noise Both Break Neural Machine Translation" (ICLR 2018).

    python -c "import random; from pipelines.data import augment; print(augment.alter('typos', 'where is my card', random.Random(1), 0.3))"
"""

import random
import re
from collections.abc import Callable
from typing import NamedTuple

VERSION = 1  # a change of what any function here gives
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
TOKEN = re.compile(r"</?[A-Za-z_ ]+\d*>|\S+")
SOUND = re.compile(r"[A-Za-z][A-Za-z'’]{2,}")  # words that bear a slip: letters alone, three or more
MARKS = re.compile(r"[.,;:!?]|(?<=\w)['’](?=\w)")
OPENERS = ("hi,", "hello,", "hey,", "um,", "ok so", "hi there,", "sorry,", "quick question:")
CLOSERS = ("thanks", "please", "cheers", "any idea?", "thank you", "pls help", "asap")


class Change(NamedTuple):
    """What a function may use."""

    draw: random.Random
    share: float  # of the words


def alter(method: str, text: str, draw: random.Random, share: float) -> str:
    """`text` after one of METHODS; the same draw gives the same text."""
    return METHODS[method](text, Change(draw, share))


def typos(text: str, change: Change) -> str:
    """Slips in a share of the words: a neighbour on the keyboard, two letters swapped, one dropped, one doubled."""
    parts = _parts(text)
    places = [place for place, part in enumerate(parts) if SOUND.fullmatch(part.strip('.,;:!?"()'))]
    for place in _some(places, change):
        parts[place] = _slip(parts[place], change.draw)
    return "".join(parts)


def casing(text: str, change: Change) -> str:
    """All small, all capitals, no capital at the start, or a word in capitals; placeholders stay as they are."""
    parts = _parts(text)
    kind = change.draw.choice(("small", "capitals", "start", "word"))
    places = [place for place, part in enumerate(parts) if not part.startswith("<") and any(map(str.isalpha, part))]
    chosen = {"start": places[:1], "word": _some(places, change)}.get(kind, places)
    for place in chosen:
        small = kind == "small" or (kind == "start" and not parts[place].islower())
        parts[place] = parts[place].lower() if small else parts[place].upper() if kind != "start" else parts[place].capitalize()
    return "".join(parts)


def noise(text: str, change: Change) -> str:
    """Marks lost or repeated, spaces lost or doubled, and a word of greeting or thanks that asks for nothing."""
    draw, kind = change.draw, change.draw.choice(("marks", "no_marks", "spaces", "opener", "closer"))
    if kind == "opener":
        return f"{draw.choice(OPENERS)} {text}"
    if kind == "closer":
        return f"{text.rstrip()} {draw.choice(CLOSERS)}"
    if kind == "marks":
        end = re.search(r"[.?!]*\s*$", text)
        return text[: end.start()] + draw.choice(("??", "!!", "...", "?!", " ?", "!!!"))
    if kind == "no_marks":
        return "".join(part if part.startswith("<") or re.search(r"\d", part) else MARKS.sub("", part) for part in _parts(text))
    parts = _parts(text)
    gaps = [place for place, part in enumerate(parts) if part == " " and not any("<" in near for near in parts[place - 1 : place + 2])]
    gaps = [place for place in gaps if not any(map(str.isdigit, parts[place - 1] + parts[place + 1]))]
    for place in _some(gaps, change):
        parts[place] = draw.choice(("", "  "))
    return "".join(parts)


def _parts(text: str) -> list[str]:
    """Words, placeholders and the spaces between them, in order: joined they are the text."""
    found, at = [], 0
    for match in TOKEN.finditer(text):
        found += ([text[at : match.start()]] if match.start() > at else []) + [match[0]]
        at = match.end()
    return found + ([text[at:]] if at < len(text) else [])


def _some(places: list[int], change: Change) -> list[int]:
    """A share of the places, one at least."""
    return change.draw.sample(places, min(len(places), max(1, round(change.share * len(places)))))


def _slip(word: str, draw: random.Random) -> str:
    letters = [place for place, letter in enumerate(word) if letter.isalpha()]
    place = draw.choice(letters[1:-1] or letters)  # the first and the last letter are the last to go wrong
    kind = draw.choice(("neighbour", "swap", "drop", "double"))
    if kind == "neighbour":
        return word[:place] + _neighbour(word[place], draw) + word[place + 1 :]
    if kind == "swap" and word[place + 1 : place + 2].isalpha():
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + word[place + 1 :] if kind == "drop" else word[:place] + word[place] + word[place:]


def _neighbour(letter: str, draw: random.Random) -> str:
    small = letter.lower()
    row = next((place for place, keys in enumerate(ROWS) if small in keys), None)
    if row is None:
        return letter
    at = ROWS[row].index(small)
    near = [ROWS[row][place] for place in (at - 1, at + 1) if 0 <= place < len(ROWS[row])]
    near += [keys[at] for keys in ROWS[max(row - 1, 0) : row + 2] if keys != ROWS[row] and at < len(keys)]
    found = draw.choice(near)
    return found.upper() if letter.isupper() else found


METHODS: dict[str, Callable[[str, Change], str]] = {"typos": typos, "casing": casing, "noise": noise}
