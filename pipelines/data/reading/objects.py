"""JSON lines, a JSON array and JSON objects one after the other as rows, holding one record at a time.

Reasons given here: not_json, not_an_object, duplicate_key, too_long, undecodable, file_empty. JSON is read strictly: no
NaN, no key twice, nothing after the value, at most 100 brackets open at once.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pipelines.data.reading.encodings import Encoding, lines, undecodable
from pipelines.data.reading.rows import RAW, Refusal, Row, refuse

CHUNK = 1 << 16  # characters
DEEP = 100  # brackets that may be open at once
SPACE = re.compile(r"\s*")
FAR = 1 << 26  # characters within which the end of an element that is too long is looked for
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
REST = "nothing from this place on can be read"


class _DuplicateKey(ValueError):
    pass


def read_lines(path: Path, encoding: Encoding, limit: int) -> Iterator[Row | Refusal]:
    """One JSON object a line; blank lines are no rows."""
    some = False
    for line in lines(path, encoding, limit):
        text = line.text.strip()
        if not text:
            continue
        some = True
        if line.cut:
            yield refuse(line.number, "too_long", "the line is longer than a record may be", text)
        elif encoding.broken and (why := undecodable(line)):
            yield refuse(line.number, "undecodable", why, text)
        else:
            yield _row(line.number, text, limit)
    if not some:
        yield refuse(0, "file_empty", "the file holds no row", "")


def read_array(path: Path, encoding: Encoding, limit: int) -> Iterator[Row | Refusal]:
    """The elements of one JSON array, by number: several may stand on one line. Where it breaks, the rest is one refusal."""
    with path.open(encoding=encoding.codec, errors="surrogateescape" if encoding.broken else "strict") as stream:
        window = _Window(stream)
        window.peek()
        window.drop(1)  # the opening bracket
        mark, number = window.peek(), 0
        while mark != "]":
            text, number = window.value(), number + 1
            if text:
                yield _row(number, text, limit)
            mark = window.peek()
            if not text or mark not in (",", "]"):
                yield refuse(number + bool(text), "not_json", f"the array is broken in line {window.line}; {REST}", window.text)
                return
            if mark == ",":
                window.drop(1)
                window.peek()
        window.drop(1)
        if window.peek():
            yield refuse(number + 1, "not_json", f"there is something after the end of the array, in line {window.line}", window.text)


def is_stream(opening: str, whole: bool) -> bool:
    """Whether a file's beginning holds JSON objects that are not one a line: written over several lines, or one after the other."""
    first, _, rest = opening.lstrip().partition("\n")
    if not first.startswith("{") or _object(first) or any(line.startswith("{") and _object(line) for line in rest.splitlines()):
        return False
    decoder, text, some = json.JSONDecoder(), opening.strip(), False
    while text:
        try:
            text, some = text[decoder.raw_decode(text)[1] :].lstrip(), True
        except RecursionError:
            return False
        except ValueError:
            return text.startswith("{") and (some or (not whole and "\n" in text))
    return True


def _object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def read_stream(path: Path, encoding: Encoding, limit: int) -> Iterator[Row | Refusal]:
    """JSON objects that follow on each other, by number, each over as many lines as it likes. Where one breaks, the rest is one refusal."""
    with path.open(encoding=encoding.codec, errors="surrogateescape" if encoding.broken else "strict") as stream:
        window, number = _Window(stream), 0
        while window.peek():
            text, number = window.value(), number + 1
            if not text:
                yield refuse(number, "not_json", f"the object is broken in line {window.line}; {REST}", window.text)
                return
            yield _row(number, text, limit)


class _Window:
    """A moving window on a text stream that counts lines; what was passed is cut off now and then, not at every step."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.held, self.at, self.line, self.ended = stream, "", 0, 1, False
        self.decoder = json.JSONDecoder()

    @property
    def text(self) -> str:
        """What is left of the window, as much of it as a refusal keeps."""
        return self.held[self.at : self.at + RAW]

    def grow(self) -> None:
        """Read on; the window doubles, so that a long element is tried a few times only."""
        left = self.held[self.at :]
        more = self.stream.read(max(CHUNK, len(left)))
        self.held, self.at, self.ended = left + more, 0, not more

    def drop(self, count: int) -> None:
        """Move past `count` characters."""
        self.line += self.held.count("\n", self.at, self.at + count)
        self.at += count

    def peek(self) -> str:
        """The next character that is no white space, which the window then starts with; empty at the end."""
        while True:
            self.drop(SPACE.match(self.held, self.at).end() - self.at)
            if self.at < len(self.held) or self.ended:
                return self.held[self.at : self.at + 1]
            self.grow()

    def value(self) -> str:
        """The text of the JSON value that the window starts with, moved past; empty where there is none within `FAR`."""
        while True:
            try:
                end = self.decoder.raw_decode(self.held, self.at)[1]
            except RecursionError:
                end = _closing(self.held, self.at)
            except ValueError:
                end = -1
            if end > 0 and (end < len(self.held) or self.ended):  # a number at the window's end may go on
                found = self.held[self.at : end]
                self.drop(end - self.at)
                return found
            if self.ended or len(self.held) - self.at > FAR:
                return ""
            self.grow()


def _closing(text: str, start: int) -> int:
    """Where the bracket at `start` is closed, however deep what is within; -1 where it is not."""
    depth = 0
    for found in BRACKETS.finditer(text, start):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
            if not depth:
                return found.end()
    return -1


def depth(text: str) -> int:
    """How many brackets are open at once, at most."""
    steps = (1 if found[0] in "[{" else -1 for found in BRACKETS.finditer(text) if found[0] in "[]{}")
    return max(itertools.accumulate(steps), default=0)


def _row(line: int, text: str, limit: int) -> Row | Refusal:
    if len(text) > limit:
        return refuse(line, "too_long", "the element is longer than a record may be", text)
    if text.count("{") + text.count("[") > DEEP and depth(text) > DEEP:
        return refuse(line, "not_json", f"nested too deeply, the limit is {DEEP}", text)
    try:
        value = STRICT.decode(text)
    except _DuplicateKey as error:
        return refuse(line, "duplicate_key", str(error), text)
    except ValueError as error:
        return refuse(line, "not_json", str(error), text)
    if not isinstance(value, dict):
        return refuse(line, "not_an_object", f"a row must be a JSON object, not {type(value).__name__}", text)
    return Row(line, value, text)


def _pairs(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _DuplicateKey(f"the key {name[:100]!r} is there more than once")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
