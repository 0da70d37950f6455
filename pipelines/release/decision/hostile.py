"""Text that a customer or a model wrote, made harmless for the pages that quote it, and cut to a length.

In HTML every character is kept and escaped, but for controls that nobody sees and that turn lines round. In Markdown
nothing from outside may become a link, an image, a heading or HTML, whichever of its dialects reads it: what would
start one is replaced by a letter that looks like it, and quotations stand in inline code.
"""

import re
import unicodedata
from html import escape

JOINERS = "\u200c\u200d"  # between the letters of some scripts and the parts of an emoji
_QUOTED = str.maketrans({"`": "’", "|": "¦", "<": "‹", ">": "›"})
_SAID = _QUOTED | str.maketrans({"[": "(", "]": ")", "*": "∗", "\\": "＼"})
_LINK = re.compile(r"(?i)(?<=[a-z]):(?=/?/)|(?<=www)\.|(?<=\w)@(?=\w)|(?:(?<=javascript)|(?<=mailto)|(?<=data)|(?<=xmpp)):")
_LOOKALIKE = {":": "∶", ".": "․", "@": "＠"}
_TEMPLATE = re.compile(r"\{(?=[{%#])")  # the page that shows a request may be a template
_SPACE = re.compile(r"\s+")


def html(value: object, most: int = 2_000) -> str:
    """Escaped for text and attributes; None is a dash."""
    return "–" if value is None else escape(_cut(_visible(str(value)), most), quote=True)


def quoted(value: object, most: int = 300) -> str:
    """One line of Markdown inline code that nothing in it can end."""
    text = _cut(_one_line("" if value is None else str(value)), most).translate(_QUOTED)
    return f"`{_TEMPLATE.sub('｛', text) or '(nothing)'}`"


def said(value: object, most: int = 1_000) -> str:
    """One line of Markdown prose, for sentences of ours that hold names from outside; it is not for the start of a line."""
    text = _cut(_one_line("" if value is None else str(value)), most).translate(_SAID)
    return _TEMPLATE.sub("｛", _LINK.sub(lambda found: _LOOKALIKE[found.group()], text))


def _one_line(text: str) -> str:
    return _SPACE.sub(" ", _visible(text)).strip()


def _visible(text: str) -> str:
    """Controls, half characters and those that reverse the line become a mark."""
    kept = "\n\t" + JOINERS
    return "".join(letter if letter in kept or unicodedata.category(letter) not in ("Cc", "Cf", "Cs") else "\ufffd" for letter in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… (and {len(text) - most:,} characters more)"
