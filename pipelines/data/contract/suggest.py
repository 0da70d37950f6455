"""A first contract from data, each line with what was seen: `python -m pipelines contract suggest --source FILE`.

With `--usecase NAME` the file's columns are mapped as that use case maps them, and the contract is written into its
folder, where none is yet. What is suggested holds for the data it came from; whether it should hold, a person decides.
"""

import heapq
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.data.contract import texts
from pipelines.data.contract.languages import Identifier
from pipelines.data.contract.looks import Column
from pipelines.data.reading.disk import disk
from pipelines.data.reading.mapping import OURS, Mapping, accept, mapping
from pipelines.data.reading.readers import opened
from pipelines.data.reading.rows import Refusal, Row
from pipelines.errors import UserError
from pipelines.sections import Contract, Source, UseCase
from pipelines.settings import CONTRACT, check, default_profile, load_profile, load_usecase

NIGHT = "9999-12-30"  # no row is of a later night
IDS = ("row_id", "conversation_id", "subject_id")
SAMPLE = 2_000  # texts whose language is asked
LONGEST = 1_000  # longest texts, whose tokens are counted
COMMON = 0.02  # share of the texts from which a language is one of the source's
log = logging.getLogger("pipelines.data.contract.suggest")


class Look:
    """What was seen of a source."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.columns = {name: Column() for name in OURS}
        self.refused: Counter[str] = Counter()
        self.rows = 0
        self.turns: set[int] = set()  # hashes of conversation and turn
        self.sample: list[str] = []
        self.longest: list[tuple[int, str]] = []  # heap of (bytes, text)
        self._luck = random.Random(0)

    def see(self, row: dict[str, Any], mapped: Sequence[str]) -> None:
        """One row of `traffic`."""
        self.rows += 1
        for name in mapped:
            self.columns[name].see(row[name])
            if name in IDS and row[name] is not None:
                self.columns[name].see_form(row[name])
        if len(self.sample) < SAMPLE:
            self.sample.append(row["text"])
        elif (at := self._luck.randrange(self.rows)) < SAMPLE:
            self.sample[at] = row["text"]
        keep = heapq.heappush if len(self.longest) < LONGEST else heapq.heappushpop
        keep(self.longest, (len(row["text"].encode()), row["text"]))
        if row["turn"] is not None and row["conversation_id"] is not None:
            self.turns.add(hash((row["conversation_id"], row["turn"])))


def suggest_contract(source: str) -> str:
    """A contract as YAML for a file whose columns have the names of ours; raises UserError where none of its rows is one."""
    return _write(_look(source, None), source)


def write_contract(source: str, usecase: str) -> dict:
    """Write the contract into the use case's folder; returns {"contract": path, "rows", "refused"}.

    Raises UserError where there is one already, or none of the file's rows is a row of the use case.
    """
    settings = load_usecase(usecase)
    path = Path(settings.folder, CONTRACT)
    if path.exists():
        raise UserError(f"{path} is there already and is not overwritten: remove it, or leave --usecase out and compare what is printed")
    look = _look(source, settings)
    with disk(path):
        path.write_text(_write(look, source), encoding="utf-8")
    log.info("contract: wrote %s from %d rows, %d more were refused; read it before the next night", path, look.rows, look.refused.total())
    return {"contract": str(path), "rows": look.rows, "refused": dict(look.refused)}


def _look(source: str, usecase: UseCase | None) -> Look:
    path, look, how, names = Path(source), Look(), None, []
    if not path.is_file():
        raise UserError(f"{source} is {'a folder' if path.is_dir() else 'not there'}: --source takes one file")
    with disk(path), opened(path, path.name, (), Contract().max_text_bytes) as file:
        for row in file.rows:
            if isinstance(row, Row) and how is None:
                how, names = _mapping(row, usecase, source), list(row.columns)
            result = row if isinstance(row, Refusal) else accept(row, how)
            if isinstance(result, Refusal):
                look.refused[result.reason] += 1
            else:
                look.see(result, list(how.columns))
    if not look.rows:
        reasons = ", ".join(f"{reason} {count:,} time(s)" for reason, count in look.refused.most_common()) or "it has no rows"
        cure = "" if usecase else "; a column must be named text, or --usecase names the use case that maps the columns"
        raise UserError(f"{source}: no row of it can be used: {reasons}. Its columns: {', '.join(names)[:500] or 'none'}{cure}")
    return look


def _mapping(row: Row, usecase: UseCase | None, shown: str) -> Mapping:
    """Our columns in the file: those of the use case's source that fits best, or all that have our names."""
    if usecase is None:
        there = {name: name for name in OURS if name in row.columns} | {"text": "text"}
        return mapping(Source(path=shown, columns=there), _no_usecase(), "0" * 16, shown, NIGHT, NIGHT)
    fitting = max(usecase.sources, key=lambda source: len(set(source.columns.values()) & set(row.columns)))
    return mapping(fitting, usecase, "0" * 16, shown, NIGHT, NIGHT)


def _no_usecase() -> UseCase:
    return UseCase(name="none", description="", sources=[Source(path="none")], gate={"metrics": {}})


def _write(look: Look, source: str) -> str:
    """The contract as YAML with comments. No value of a row stands in a comment."""
    lines = [
        f"# Suggested from {_yaml(Path(source).name)}: {look.rows:,} rows, {look.refused.total():,} more were refused. Read each line."
    ]
    lines += [*_labels(look.columns["label"]), *_texts(look), *_limits(look)]
    rules = [f"  - {_yaml(rule)} # {seen}" for rule, seen in _rules(look)]
    lines += ["rows:", *rules] if rules else []
    text = "\n".join(lines) + "\n"
    import yaml

    check(Path(CONTRACT), yaml.safe_load(text), Contract)  # what is written loads
    return text


def _labels(label: Column) -> Iterator[str]:
    if label.is_set and label.nulls <= 0.02 * label.rows:
        yield f"labels: {_yaml(sorted(label.values))} # {len(label.values)} seen, the rarest {min(label.values.values()):,} time(s)"
    elif label.there:
        yield f"# labels: not closed: {label.nulls:,} of {label.rows:,} rows have none, or too many are different"


def _texts(look: Look) -> Iterator[str]:
    least = Contract().min_words
    guess = Identifier().classify([text for text in look.sample if len(text.split()) >= least])
    sure = Counter(guess.codes[guess.probabilities >= texts.SURE].tolist())
    common = [code for code, count in sure.most_common() if count >= COMMON * sure.total()]
    if common and sure.total() >= 20:
        share = sum(sure[code] for code in common) / sure.total()
        yield f"languages: {_yaml(common)} # {share:.1%} of {sure.total():,} texts of {least} words or more that one can be sure of"
    counter = texts.Tokens(texts.tokenizer(Path(load_profile(default_profile()).state) / "models"), 0, 0)
    most = int(counter.count([text for _, text in look.longest]).max())
    yield f"max_tokens: {_above(most)} # the longest has {most:,}"


def _limits(look: Look) -> Iterator[str]:
    share = look.refused.total() / (look.rows + look.refused.total())
    created = look.columns["created_at"]
    yield f"min_rows: {max(look.rows // 2, 1)} # half of the {look.rows:,} seen"
    yield f"max_quarantine_share: {min(max(0.05, round(2 * share + 0.01, 2)), 1.0)} # {share:.1%} could not be used"
    yield "volume: {nights: 7, min_share: 0.5, max_share: 2.0} # a guess: one file says nothing of other nights"
    newest = f"the newest row is of {created.high.date()}" if created.high else "the rows have no time"
    yield f"max_age_days: 0 # not checked; {newest}: write 1 where rows come every night"


def _rules(look: Look) -> Iterator[tuple[dict, str]]:
    """(rule, what was seen) of each column that the source has."""
    for name, column in look.columns.items():
        if not column.there:
            continue
        if not column.nulls and name != "text":
            yield _rule("values_to_not_be_null", name, f"{name}_missing"), f"none of {column.rows:,} is null"
        if name in ("text", "reply"):
            bounds = {"min_value": max(column.shortest // 2, 1), "max_value": _above(column.longest)}
            seen = f"{column.shortest:,} to {column.longest:,} characters" + (f", {column.nulls:,} null" if column.nulls else "")
            yield _rule("value_lengths_to_be_between", name, f"{name}_length", bounds), seen
        if name == "turn":
            yield (
                _rule("values_to_be_between", name, "turn_range", {"min_value": column.low, "max_value": _above(column.high)}),
                (f"{column.low} to {column.high}"),
            )
        if name in IDS and (pattern := column.pattern()):
            seen = f"all of {column.there:,} match, {len(column.marks):,} different ones"
            yield _rule("values_to_match_regex", name, f"{name}_form", {"regex": pattern}), seen
        if name == "row_id" and column.is_unique:
            yield _rule("values_to_be_unique", name, "row_id_repeated"), f"{column.there:,} different ones in {column.there:,} rows"
    if look.turns and len(look.turns) == look.rows:
        columns = {"column_list": ["conversation_id", "turn"]}
        yield {"type": "expect_compound_columns_to_be_unique", "kwargs": columns, "meta": {"reason": "turn_repeated"}}, "no turn came twice"


def _rule(kind: str, column: str, reason: str, more: dict | None = None) -> dict:
    start = "expect_column_" if kind.startswith("value") else "expect_"
    return {"type": f"{start}{kind}", "kwargs": {"column": column} | (more or {}), "meta": {"reason": reason}}


def _above(most: int) -> int:
    """At least twice as much, as a round number."""
    size = 10 ** max(len(str(2 * most)) - 2, 0)
    return -(-2 * most // size) * size


def _yaml(value: object) -> str:
    """A value on one line, as YAML reads it back."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()
