"""What a column of a source looks like, seen a value at a time: nulls, lengths, ranges, sets, and the form of identifiers."""

import re
from collections import Counter

SETS = 500  # distinct values up to which they are all kept
FORMS = 20  # different forms of identifiers up to which they are kept
ENOUGH = 10  # distinct values before a word that they share counts as part of the form
UNIQUE_ROWS = 2_000_000  # above it nothing is said of uniqueness: every value seen has to be remembered
UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
PARTS = re.compile(r"[0-9]+|[A-Za-z]+|[^0-9A-Za-z]")
HEX = re.compile(r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12,}")


class Column:
    """What was seen of one column."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.rows = self.nulls = 0
        self.low = self.high = None  # of values that are numbers or times
        self.shortest, self.longest = None, 0  # characters
        self.values: Counter[str] = Counter()  # up to SETS different ones
        self.marks: set[int] = set()  # hashes, for uniqueness
        self.forms: dict[tuple[str, ...], list[set[str]]] = {}  # form to the words seen at each of its places
        self.is_uuid = True
        self.hexes: set[int] = set()  # lengths of hexadecimal values; 0: one was none

    def see(self, value: object) -> None:
        """One value."""
        self.rows += 1
        if value is None:
            self.nulls += 1
            return
        if len(self.marks) < UNIQUE_ROWS:
            self.marks.add(hash(value))
        if not isinstance(value, str):
            self.low = value if self.low is None else min(self.low, value)
            self.high = value if self.high is None else max(self.high, value)
            return
        self.shortest, self.longest = min(len(value), self.shortest or len(value)), max(len(value), self.longest)
        if value in self.values or len(self.values) <= SETS:
            self.values[value] += 1

    def see_form(self, value: str) -> None:
        """The form of an identifier."""
        self.is_uuid = self.is_uuid and bool(re.match(UUID, value))
        self.hexes.add(len(value) if HEX.fullmatch(value) else 0)
        parts = PARTS.findall(value)
        form = tuple("0" if part[0].isdigit() else "a" if part[0].isalpha() and part[0].isascii() else part for part in parts)
        if form in self.forms or len(self.forms) <= FORMS:
            places = self.forms.setdefault(form, [set() for _ in parts])
            for place, part in zip(places, parts, strict=True):
                if len(place) <= ENOUGH:
                    place.add(part)

    @property
    def there(self) -> int:
        """Values that are not null."""
        return self.rows - self.nulls

    @property
    def is_unique(self) -> bool:
        """Whether no value came twice, as far as was remembered."""
        return 1 < self.there < UNIQUE_ROWS and len(self.marks) == self.there

    @property
    def is_set(self) -> bool:
        """Whether its values look like a closed set: few, and each seen several times on average."""
        return 0 < len(self.values) <= SETS and len(self.values) * 4 <= self.there

    def pattern(self) -> str | None:
        """An anchored regular expression that every identifier seen matches, None where they have no form in common."""
        if len(self.marks) < ENOUGH or not self.forms:
            return None
        if self.is_uuid:
            return UUID
        if len(self.hexes) == 1 and (length := next(iter(self.hexes))):
            return f"^[0-9a-f]{{{length}}}$"
        if len(self.forms) == 1:
            ((form, places),) = self.forms.items()
            return "^" + "".join(_class(kind, place) for kind, place in zip(form, places, strict=True)) + "$"
        signs = {kind for form in self.forms for kind in form} - {"0", "a"}
        return "^[A-Za-z0-9" + "".join(map(re.escape, sorted(signs))) + "]+$" if len(self.forms) <= FORMS and len(signs) <= 4 else None


def _class(kind: str, seen: set[str]) -> str:
    """One part of a form: digits of any number, the word that all have, or letters."""
    if kind == "0":
        return "[0-9]+"
    if kind != "a":
        return kind if kind in "-_:/@ " else re.escape(kind)
    if len(seen) == 1:
        return next(iter(seen))
    letters = ("a-z" if any(part != part.upper() for part in seen) else "") + ("A-Z" if any(part != part.lower() for part in seen) else "")
    return f"[{letters}]+" if len(seen) <= ENOUGH and letters != "a-zA-Z" else "[A-Za-z]+"
