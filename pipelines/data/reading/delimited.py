"""CSV as it comes: the dialect chosen by evidence, records parsed strictly, and nothing swallowed by a stray quote.

The dialect: every likely pair of delimiter and quoting parses the first 64 KB; one under which a row holds all mapped
columns wins, then one whose header comes first, then the one whose records agree best on their number of fields.
`csv.Sniffer` counts characters without regard to quotes and is wrong on prose. Title lines above the header are passed.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipelines.data.reading.encodings import FileRefused, Line

SAMPLE = 1 << 16  # characters
TITLES = 50  # records among which the header is looked for
NO_DELIMITER = "\x1f"
SEPARATOR = re.compile(r'\ufeff?"?sep=(.)"?\r?\n?$', re.IGNORECASE)
NAMES = {"\t": "tab", " ": "space", NO_DELIMITER: "none"}
ENDS = {"\r\n": "CRLF", "\n": "LF", "\r": "CR", "": "none"}


class Dialect(NamedTuple):
    """How a file writes its fields."""

    delimiter: str
    quote: str
    escape: str | None
    skip_space: bool  # after a delimiter


class Record(NamedTuple):
    """One record, or the reason why it is none."""

    line: int
    cells: list[str]
    reason: str
    detail: str
    raw: str


class Head(NamedTuple):
    """What the sample says of a file."""

    dialect: Dialect
    header: list[str]  # stripped names, as they stand
    header_line: int
    line_end: str

    def describe(self) -> dict:
        """The dialect as a person reads it."""
        shown = {"delimiter": NAMES.get(self.dialect.delimiter, self.dialect.delimiter), "quote": self.dialect.quote}
        if self.dialect.escape:
            shown["escape"] = self.dialect.escape
        return shown | {"line_end": self.line_end, "header_line": self.header_line}


class _Read(NamedTuple):
    """One candidate's reading of the sample."""

    rank: tuple
    head: Head


def examine(sample: list[Line], whole: bool, needed: Sequence[str]) -> Head:
    """Choose the dialect and find the header; raises FileRefused (file_empty, missing_column, duplicate_column)."""
    text = "".join(line.text for line in sample)
    if not text.strip("\r\n\x00 \ufeff"):
        raise FileRefused("file_empty", "the file holds no row")
    told = SEPARATOR.match(sample[0].text)  # what Excel writes: the delimiter, on a line above the header
    candidates = [found for found in _candidates(text) if not told or found.delimiter == told[1]]
    sample = sample[1:] if told and candidates else sample
    reads = [_read(sample, whole, dialect, needed) for dialect in candidates or _candidates(text)]
    head = max(reads, key=lambda read: read.rank).head
    missing = [name for name in needed if name not in head.header]
    if missing:
        found = ", ".join(repr(name) for name in head.header[:40])
        raise FileRefused("missing_column", f"there is no column {', '.join(map(repr, missing))}; the columns found are {found}")
    if twice := [name for name in needed if head.header.count(name) > 1]:
        raise FileRefused("duplicate_column", f"the header names {', '.join(map(repr, twice))} more than once")
    ends = Counter(re.search(r"[\r\n]*$", line.text)[0][-2:] for line in sample if not line.cut)
    commonest = ends.most_common(1)[0][0] if ends else ""
    return head._replace(line_end=ENDS.get(commonest, "mixed"))


def records(lines: Iterator[Line], dialect: Dialect, limit: int) -> Iterator[Record]:
    """Records in order; blank lines are no records.

    A record of more than `limit` characters is refused as one, without being held. Where quoting breaks (a quote that
    never closes, text after a closing quote), each physical line that the record had taken is refused on its own: the
    count says how much is lost, and no line from within a cell is taken for a row.
    """
    feed = _Feed(lines, limit)
    reader = csv.reader(feed, **_options(dialect))
    while True:
        feed.taken, feed.size = [], 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLong) as error:
            overflows = isinstance(error, _TooLong) and len(feed.taken) > 1
            yield from _skip(feed, dialect) if overflows else _refuse(feed.taken, error)
            continue
        if cells:
            yield Record(feed.taken[0].number, cells, "", "", "".join(line.text for line in feed.taken))


class _TooLong(Exception):
    pass


class _Feed:
    """Hands physical lines to csv.reader and remembers which ones the present record took."""

    def __init__(self, lines: Iterator[Line], limit: int) -> None:
        self.lines, self.limit = lines, limit
        self.taken: list[Line] = []
        self.size = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken.append(line)
        self.size += len(line.text)
        if line.cut or self.size > self.limit:
            raise _TooLong
        return line.text


def _skip(feed: _Feed, dialect: Dialect) -> Iterator[Record]:
    """Pass a record that is too long: one refusal where its quote closes, one a line where it never does."""
    first, last = feed.taken[0], feed.taken[-1]
    end = last.number
    for line in feed.lines:
        end = line.number
        plain = line.text.replace(f"{dialect.escape}{dialect.quote}", "") if dialect.escape else line.text
        if plain.replace(dialect.quote * 2, "").count(dialect.quote) % 2:
            detail = f"the record of lines {first.number} to {end} is longer than {feed.limit:,} characters"
            yield Record(first.number, [], "too_long", detail, first.text)
            return
    yield from _refuse(feed.taken, _TooLong())
    for number in range(last.number + 1, end + 1):
        yield Record(number, [], "unclosed_quote", f"the quote that opens in line {first.number} does not close", "")


def _refuse(taken: list[Line], error: Exception) -> Iterator[Record]:
    for line in taken:
        if line.cut or (isinstance(error, _TooLong) and len(taken) == 1) or "field larger" in str(error):
            yield Record(line.number, [], "too_long", "the line is longer than a record may be", line.text)
        elif isinstance(error, _TooLong) or "unexpected end" in str(error):
            yield Record(line.number, [], "unclosed_quote", f"the quote that opens in line {taken[0].number} does not close", line.text)
        else:
            yield Record(line.number, [], "bad_quoting", f"record from line {taken[0].number} on: {error}", line.text)


def _options(dialect: Dialect) -> dict:
    return {
        "delimiter": dialect.delimiter,
        "quotechar": dialect.quote,
        "escapechar": dialect.escape,
        "skipinitialspace": dialect.skip_space,
        "strict": True,
    }


def _candidates(text: str) -> list[Dialect]:
    """Likely dialects, the plainest first; unusual ones only where the text shows their marks."""
    found = []
    quotes = [('"', None)] + ([('"', "\\")] if '\\"' in text else []) + ([("'", None)] if '"' not in text and "'" in text else [])
    for quote, escape in quotes:
        for delimiter in (",", ";", "\t", "|", " ", NO_DELIMITER):
            if delimiter not in text and delimiter not in (",", NO_DELIMITER):
                continue
            found.append(Dialect(delimiter, quote, escape, False))
            if delimiter != " " and re.search(re.escape(delimiter) + " +" + quote, text):
                found.append(Dialect(delimiter, quote, escape, True))
    return found


def _read(sample: list[Line], whole: bool, dialect: Dialect, needed: Sequence[str]) -> _Read:
    found = list(records(iter(sample), dialect, 1 + sum(len(line.text) for line in sample)))
    if not whole and len(found) > 1:
        cut = next((i for i, record in enumerate(found) if record.reason == "unclosed_quote"), len(found) - 1)
        found = found[: max(cut, 1)]  # the last record of a cut sample is not whole
    good = [record for record in found if not record.reason]
    if not good:
        return _Read((False, False, False, 0.0, False, 0, 0), Head(dialect, [], 0, ""))
    widths = Counter(len(record.cells) for record in good)
    at = next((i for i, record in enumerate(good[:TITLES]) if needed and set(needed) <= _names(record)), None)
    holds, unnamed = at is not None, False
    if at is None:
        width = max(widths, key=lambda size: (widths[size], size))
        full = (i for i, record in enumerate(good[:TITLES]) if len(record.cells) == width and sum(map(bool, record.cells)) * 2 >= width)
        at = 0 if _narrow(good) else next(full, 0)
        if unnamed := at == 1 and _unnamed(good, width):
            at, good[0] = 0, good[0]._replace(cells=["", *good[0].cells])
    header = [name.strip() for name in good[at].cells]
    body = [record for record in found if record.line > good[at].line]
    agree = sum(len(trimmed(record.cells, len(header))) == len(header) for record in body if not record.reason)
    share = round(agree / len(body), 2) if body else 1.0
    broken = sum(bool(record.reason) for record in body)  # speak neither for nor against a delimiter
    prose = dialect.delimiter == " "  # has to show more: words are as many by chance
    several = len(header) > 1 and agree + broken >= len(body) * (0.9 if prose else 0.5) and (agree > broken or not (prose and body))
    rank = (holds, several, at == 0 and not unnamed, share, not prose, -good[at].line, len(header) if several else 0)
    if not several and not holds and dialect.delimiter != ",":
        dialect = dialect._replace(delimiter=NO_DELIMITER)
        header = [good[at].raw.strip()]
    return _Read(rank, Head(dialect, header, good[at].line, ""))


def trimmed(cells: list[str], width: int) -> list[str]:
    """The cells without empty ones beyond the header's width: some programs end every row with delimiters, but not the header."""
    return cells if len(cells) <= width or any(cells[width:]) else cells[:width]


def _narrow(good: list[Record]) -> bool:
    """Whether the first record is a header with names alone, and all others have its width but for empty cells at their end."""
    first = good[0].cells
    return len(first) > 1 and all(name.strip() for name in first) and all(len(trimmed(r.cells, len(first))) == len(first) for r in good)


def _unnamed(good: list[Record], width: int) -> bool:
    """Whether the first record names every column but the first, as R writes row names: no number in it, and one in the next."""
    return len(good[0].cells) == width - 1 > 0 and not any(map(numeric, good[0].cells)) and any(map(numeric, good[1].cells))


def numeric(cell: str) -> bool:
    """Whether a cell is a number, as a header's is not."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _names(record: Record) -> set[str]:
    return {name.strip() for name in record.cells}
