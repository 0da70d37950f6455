"""Which encoding a text file has, checked against the whole of it: a wrong guess would change what people wrote.

In this order: a byte order mark; the zero bytes of UTF-16 without a mark; strict UTF-8; where most of what is not
ASCII is good UTF-8, UTF-8 with broken rows; else charset-normalizer on the surroundings of the first odd byte, with
Windows-1252, then 1250, preferred where it is as likely as the best. What nothing fits is refused with the byte's
offset. A guess can be wrong (Turkish reads as Windows-1252): the encoding taken is kept in `files` and logged.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.data.reading.rows import FileRefused

CHUNK = 1 << 20
HEAD = 1 << 16
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ESCAPED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that cannot be decoded
LIKELY = 0.1  # charset-normalizer's mess ratio above which a guess is no better than noise
COMMON = ("cp1252", "cp1250")  # of encodings that fit equally well, the ones that most files have


class Encoding(NamedTuple):
    """How to decode a file."""

    codec: str
    broken: bool  # rows with undecodable bytes are in it, and are refused one by one


class Line(NamedTuple):
    """One physical line."""

    number: int  # from 1
    text: str  # with its line end; cut where it is longer than the limit
    offset: int  # of its first byte in the file; 0 where the file has no undecodable byte
    cut: bool


def detect(path: Path, legacy: bool) -> Encoding:
    """The encoding of a text file; `legacy` allows encodings that a file cannot declare (CSV, not JSON, which is UTF-8).

    Raises FileRefused(undecodable) with the offset of the byte that does not fit.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    marked = opening_codec(head)
    if marked and marked != "utf-8-sig":
        return _checked(path, marked)
    good, bad = _survey(path)
    if not bad or good > bad or marked or not legacy:
        return Encoding(marked or "utf-8", bad > 0)
    guess = _guess(path, _first_error(path, "utf-8"))
    return _checked(path, guess) if guess else Encoding("utf-8", True)


def opening_codec(head: bytes) -> str:
    """The codec that the first bytes give away (a mark, or UTF-16's zero bytes), empty for none."""
    for mark, codec in MARKS:
        if head.startswith(mark):
            return codec
    zeros = [head[start::2].count(0) / max(len(head) // 2, 1) for start in (0, 1)]
    if zeros[1] > 0.4 and zeros[0] < 0.1:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.4 and zeros[1] < 0.1 else ""


def lines(path: Path, encoding: Encoding, limit: int) -> Iterator[Line]:
    """Physical lines (LF, CRLF or CR), none held longer than `limit` characters."""
    offset = 0
    with path.open(encoding=encoding.codec, errors="surrogateescape" if encoding.broken else "strict", newline="") as stream:
        number = 0
        while text := stream.readline(limit):
            number += 1
            start = offset
            cut, tail = False, text
            while len(tail) >= limit and tail[-1] not in "\r\n":
                cut, tail = True, stream.readline(limit)
                offset += len(tail.encode("utf-8", "surrogateescape")) if encoding.broken else 0
            if encoding.broken:
                offset += len(text.encode("utf-8", "surrogateescape"))
            yield Line(number, text, start, cut)


def undecodable(line: Line) -> str:
    """What to say of the first undecodable byte of a line, empty where there is none."""
    found = ESCAPED.search(line.text)
    if not found:
        return ""
    at = line.offset + len(line.text[: found.start()].encode("utf-8", "surrogateescape"))
    return f"byte 0x{ord(found[0]) - 0xDC00:02X} at offset {at} is not UTF-8; save the file as UTF-8"


def _survey(path: Path) -> tuple[int, int]:
    """Characters that are not ASCII and decode as UTF-8, and bytes that do not."""
    good = bad = 0
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    with path.open("rb") as stream:
        while True:
            chunk = stream.read(CHUNK)
            text = decoder.decode(chunk, final=not chunk)
            if not text.isascii():
                broken = len(ESCAPED.findall(text))
                bad += broken
                good += len(re.findall("[^\x00-\x7f]", text)) - broken
            if not chunk:
                return good, bad


def _first_error(path: Path, codec: str) -> int:
    """Offset of the first byte that does not decode, -1 for none."""
    decoder = codecs.getincrementaldecoder(codec)()
    done = 0
    with path.open("rb") as stream:
        while True:
            chunk = stream.read(CHUNK)
            done += len(chunk)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return done - len(error.object) + error.start
            except UnicodeError:  # UTF-16 and UTF-32 without an offset: a mark without a text
                return done
            if not chunk:
                return -1


def _checked(path: Path, codec: str) -> Encoding:
    offset = _first_error(path, codec)
    if offset >= 0:
        raise FileRefused("undecodable", f"the file looks like {codec}, but byte {offset} does not fit; save the file as UTF-8")
    return Encoding(codec, False)


def _guess(path: Path, offset: int) -> str:
    """A legacy encoding that fits the surroundings of an odd byte, empty where none is likely."""
    from charset_normalizer import from_bytes

    with path.open("rb") as stream:
        stream.seek(max(0, offset - HEAD // 8))
        window = stream.read(HEAD)
    found = list(from_bytes(window))
    if not found or found[0].chaos > LIKELY:
        return ""
    close = [match for match in found if match.chaos <= found[0].chaos + 0.02 and match.coherence >= found[0].coherence - 0.05]
    for codec in COMMON:
        if any(codec in match.could_be_from_charset for match in close) and _first_error(path, codec) < 0:
            return codec
    return found[0].encoding
