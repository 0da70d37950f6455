"""What may never be trained on: the prompts and injections of `safety`, read strictly, and the guard that finds them in a row.

CSV with a header, JSON lines, or (ending in .json) one JSON object of kind to a list of texts. A column `kind` or `type`
names the group of a prompt. A text that two files hold counts once, by its first place.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.foundation import places, tabular, text
from pipelines.foundation.chat import writable
from pipelines.foundation.step import Night
from pipelines.sections import InjectionFile, PromptFile

KINDS = ("kind", "type")  # columns that may name the group, the first that is there
LONG = 7  # words, from which a protected text is found within a longer message too
TURN = re.compile(r"(?:^|\n)(?:Customer|Agent): ")  # what a prompt with its conversation is made of


class Prompt(NamedTuple):
    """A prompt that a sound model refuses (`unsafe`) or answers."""

    id: str  # hash of the text
    text: str
    unsafe: bool
    kind: str  # empty: the file says none
    file: str
    line: int


class Injection(NamedTuple):
    """An instruction to be planted in somebody's message."""

    id: str
    text: str
    canary: str  # words that only a hijacked model writes; empty: there are none
    kind: str
    file: str
    line: int


class Found(NamedTuple):
    """Everything that the use case protects."""

    prompts: list[Prompt]
    injections: list[Injection]


class _File(NamedTuple):
    """One file of the settings and where it lies."""

    key: str  # of the settings
    settings: PromptFile | InjectionFile
    path: Path


def read(night: Night) -> Found:
    """Read every file; raises UserError with file, line, column and setting for one that is missing or wrong."""
    prompts: dict[str, Prompt] = {}
    injections: dict[str, Injection] = {}
    for file in _files(night):
        for row in _rows(night, file):
            if isinstance(row, Injection):
                injections.setdefault(row.id, row)
            elif prompts.setdefault(row.id, row).unsafe != row.unsafe:
                first = prompts[row.id]
                raise UserError(
                    f"{row.file}, line {row.line}: the prompt is {_word(row)} here and {_word(first)} in {first.file}, line {first.line}; "
                    f"decide for one of them ({file.key} in {night.usecase.folder}/usecase.yaml)"
                )
    return Found(list(prompts.values()), list(injections.values()))


def digests(night: Night) -> list[tuple[dict, str]]:
    """How each file is read and its SHA-256, for the keys of the steps that depend on them."""
    try:
        return [(file.settings.model_dump(), hashlib.sha256(file.path.read_bytes()).hexdigest()) for file in _files(night)]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror} (safety in {night.usecase.folder}/usecase.yaml)") from None


class Guard:
    """Finds a protected text in a message: the same but for case and punctuation, a near-duplicate, or (LONG ones) contained.

    A prompt that holds a conversation is looked at turn by turn as well. The comparison is exact and with each protected
    text by itself: a message that is only near to another near one is left alone.
    """

    def __init__(self, night: Night) -> None:
        found = read(night)
        self.entries: list[Prompt | Injection] = [*found.prompts, *found.injections]
        self.threshold = night.usecase.split.near_duplicate
        self.normal = [text.normalise(entry.text) for entry in self.entries]
        self.shingles = [text.shingles(entry.text) for entry in self.entries]
        self.places: dict[str, list[int]] = defaultdict(list)
        for place, shingles in enumerate(self.shingles):
            for shingle in shingles:
                self.places[shingle].append(place)

    def find(self, message: str) -> Prompt | Injection | None:
        """The first protected text that the message matches; None: it may be trained on."""
        if not self.entries:
            return None
        pieces = dict.fromkeys(piece for piece in (message, *TURN.split(message)) if piece.strip())
        return next((found for piece in pieces if (found := self._match(piece)) is not None), None)

    def _match(self, piece: str) -> Prompt | Injection | None:
        normal, shingles = text.normalise(piece), text.shingles(piece)
        for place in sorted({place for shingle in shingles for place in self.places.get(shingle, ())}):
            held = self.normal[place].count(" ") + 1 >= LONG and f" {self.normal[place]} " in f" {normal} "
            if held or text.jaccard(shingles, self.shingles[place]) >= self.threshold:
                return self.entries[place]
        return None


def told(entry: Prompt | Injection) -> str:
    """Where a protected text stands, for people."""
    return f"{entry.file}, line {entry.line}"


def _files(night: Night) -> Iterator[_File]:
    """The files of the settings, in order."""
    safety = night.usecase.safety
    for name, several in (("prompts", safety.prompts), ("injections", safety.injections)):
        for number, settings in enumerate(several):
            key, tried = f"safety.{name}[{number}]", places.searched(night, settings.path)
            path = next((path for path in tried if path.is_file()), None)
            if path is None:
                raise UserError(
                    f"{night.usecase.folder}/usecase.yaml: {key}.path {settings.path!r} was found nowhere. Searched: "
                    f"{', '.join(map(str, tried))}. Put the file in one of these places, or add a folder to data_folders in the profile"
                )
            yield _File(key, settings, path)


def _rows(night: Night, file: _File) -> Iterator[Prompt | Injection]:
    """The rows of one file; its mistakes name the setting."""
    settings = file.settings
    label = settings.label if isinstance(settings, PromptFile) else ""
    optional = (*KINDS, *([settings.canary] if isinstance(settings, InjectionFile) else []))
    needed = tuple(column for column in (settings.text, label) if column)
    read = _object(file.path, needed) if file.path.suffix == ".json" else tabular.rows(str(file.path), needed, optional)
    some = False
    try:
        for row in read:
            some = True
            yield _row(file, row, label)
        if not some:
            raise UserError(f"{file.path} holds no rows")
    except UserError as error:
        named = ", ".join(f"{key}: {value}" for key, value in settings.model_dump(include={"text", "label", "canary"}).items() if value)
        raise UserError(f"{error} ({file.key} in {night.usecase.folder}/usecase.yaml, columns {named})") from None


def _row(file: _File, row: tabular.Row, label: str) -> Prompt | Injection:
    """One row, checked."""
    settings, values = file.settings, row.values

    def cell(column: str, empty: bool) -> str:
        value = values.get(column)
        if value is None and empty:
            return ""
        known = isinstance(value, (str, int)) and not isinstance(value, bool)
        if known and (str(value).strip() or empty):
            return writable(str(value)).strip()
        wrong = "is empty" if value is None or known else f"is not a text but {type(value).__name__}"
        raise UserError(f"{file.path}, line {row.line}, column {column}: {wrong}")

    written = cell(settings.text, empty=False)
    if not text.words(written):
        raise UserError(f"{file.path}, line {row.line}, column {settings.text}: {written[:40]!r} holds no word")
    identity = hashlib.sha256(f"safety:{written}".encode()).hexdigest()[:16]
    kind = next((found for column in KINDS if column not in (settings.text, label) and (found := cell(column, empty=True))), "")
    about = (kind, places.shown(file.path), row.line)
    if isinstance(settings, InjectionFile):
        return Injection(identity, written, cell(settings.canary, empty=True), *about)
    return Prompt(identity, written, not label or cell(label, empty=False) in settings.unsafe, *about)


def _object(path: Path, needed: Sequence[str]) -> Iterator[tabular.Row]:
    """A JSON object of kind to texts, as rows with the kind; a line is the one on which the text begins."""
    if len(needed) > 1:
        raise UserError(f"{path} is a JSON object of kind to texts: it has no column {needed[1]}")
    try:
        content = path.read_text(encoding="utf-8-sig")
        found = json.loads(content)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {str(error)[:80]}") from None
    if not isinstance(found, dict) or not all(isinstance(several, list) for several in found.values()):
        raise UserError(f"{path} must hold one JSON object of kind to a list of texts; rows belong in a file that ends in .jsonl")
    at = 0
    for kind, several in found.items():
        for value in several:
            spelt = (json.dumps(value, ensure_ascii=ascii) for ascii in (False, True))
            at = max(at, *(content.find(spelling, at) for spelling in spelt))
            yield tabular.Row(content.count("\n", 0, at) + 1, {needed[0]: value, KINDS[0]: kind})


def _word(prompt: Prompt) -> str:
    return "unsafe" if prompt.unsafe else "safe"
