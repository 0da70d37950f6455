"""What was made becomes a row only if it passes every filter; each refusal has a word.

no_text, length (also an answer that was cut), repetition, language, meta (the model speaks of its task or as an
assistant), placeholder (one that its source does not have, or a blank to fill in), number (one that its parent does not
have: the parent's reply would not fit), personal_data (invented, or remembered), test_row (as near to a sealed row as two
rows of one side of the split are), near_copy, drift (hardly a word in common with its sources), label, not_hard (a hard
negative that comes nowhere near the other label). The words of `pipelines.foundation.llm` for a request without an answer
are passed on. A message that was altered without a model is near its parent by design and keeps its label: it passes the
filters of length, placeholder, number, personal_data and test_row, and no other row may hold the very same text.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pipelines.data.synthesis.plans import Draft
from pipelines.foundation import privacy, text
from pipelines.foundation.messages import Reply
from pipelines.sections import Synthesis

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PREAMBLE = re.compile(
    r"^(?:(?:sure|certainly|of course|okay|ok)\b[^\n:]{0,80}[:!.]\s*|here(?:'s| is| are)\b[^\n:]{0,80}:\s*"
    r"|(?:re-?phrased?|paraphrased?|rewritten|new|another|customer|user|same)?\s*(?:message|paraphrase|version|customer|way)\s*:\s*|\d[.)]\s+|[-*]\s+)",
    re.IGNORECASE,
)
META = re.compile(
    r"\b(?:as an? (?:ai|assistant|language model)|language model|paraphras\w*|re-?phras\w*|rewrit\w*|in other words"
    r"|i(?: a|')m (?:glad|happy|sorry) to (?:hear|help|assist)|i cannot (?:help|assist|provide|fulfil)|we apologi[sz]e|reaching out"
    r"|the (?:original |above )?message|the (?:customer|user)(?:'s)?\b|dear customer|your (?:request|inquiry|patience|understanding)"
    r"|how (?:can|may) i (?:help|assist)|assist you|feel free to|please provide|here(?:'s| is) (?:a|an|the|another|your))\b"
    r"|^(?:customer|agent|user|assistant)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
PLACEHOLDER = re.compile(r"<[A-Za-z_/ ]+\d*>")
BLANK = re.compile(r"\[[^\]\n]*\]|\{\{?\w+\}?\}|_{3,}|\bX{3,}\b")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
GROUNDED = 0.25  # a good paraphrase keeps a third to two thirds of the words that carry meaning
ESCAPED = re.compile(r"\\([\"'/])|\\n")
COMMONEST = (
    "a about after all am an and any are as at be been but by can did do for from get got had has have how i if in is it its "
    "just me my no not of on or our out so that the there they this to up was we what when where which who why will with "
    "would you your"
)
COMMON = frozenset(COMMONEST.split())


class Index:
    """Texts by their shingles, to find the most similar one."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.shingles: list[frozenset[str]] = []
        self.words: list[frozenset[str]] = []
        self.places: dict[str, list[int]] = defaultdict(list)
        self.exact: set[str] = set()
        for found in texts:
            self.add(found)

    def add(self, found: str) -> None:
        """Take one more text."""
        place = len(self.words)
        self.exact.add(found)
        self.shingles.append(text.shingles(found))
        self.words.append(frozenset(text.words(found)))
        for shingle in self.shingles[-1]:
            self.places[shingle].append(place)

    def nearest(self, found: str) -> float:
        """The highest similarity to any text, from 0 to 1: Jaccard over word pairs or over words, whichever is higher."""
        shingles, words = text.shingles(found), frozenset(text.words(found))
        near = {place for shingle in shingles for place in self.places.get(shingle, ())}
        scores = (max(text.jaccard(shingles, self.shingles[place]), text.jaccard(words, self.words[place])) for place in near)
        return max(scores, default=0.0)


class Filters(NamedTuple):
    """What `refuse` compares with."""

    settings: Synthesis
    index: Index  # train rows, and the synthetic rows so far
    sealed: Index  # test rows, and the off-limits ones
    near: float  # similarity from which the split keeps two rows on one side
    detector: privacy.Detector
    labels: "Pipeline | None"
    rare: frozenset[str]


def clean(written: str) -> str:
    """The message within what a model wrote: the first paragraph after a preamble, without quotes."""
    found = ESCAPED.sub(lambda match: match[1] or " ", written).strip()
    for _ in range(3):
        found = PREAMBLE.sub("", found, count=1).strip()
    found = re.split(r"\n\s*\n|\n(?=(?:\d[.)]|[-*]|[A-Z][\w ]{2,20}:)\s)", found, maxsplit=1)[0].strip()
    for one, two in (('"', '"'), ("“", "”"), ("'", "'")):
        if found.startswith(one):
            found = found[1:].partition(two)[0] if two in found[1:] and found[1:].count(two) == 1 else found.strip(one + two)
    return found.strip()


def judge(filters: Filters, draft: Draft, answer: Reply, max_new_tokens: int) -> tuple[str, str | None]:
    """(message, word of the refusal or None) for one answer of the model."""
    if answer.text is None:
        return "", (answer.error or "no_text").partition(":")[0]
    message = privacy.number_again(clean(answer.text), draft.parent["prompt"])
    written = answer.usage.completion if answer.usage else 0
    cut = written >= max_new_tokens and answer.text.rstrip().endswith(message)
    if cut and not message.endswith((".", "?", "!")):
        return message, "length"
    return message, refuse(filters, draft, message)


def refuse(filters: Filters, draft: Draft, message: str) -> str | None:
    """The word for the first filter that `message` does not pass, None where it passes all."""
    settings, parent = filters.settings, draft.parent
    if not message:
        return "no_text"
    if not settings.min_words <= len(text.words(message)) <= settings.max_words:
        return "length"
    if repeats(message):
        return "repetition"
    if is_english(parent["prompt"]) and not is_english(message):
        return "language"
    if META.search(message) and not META.search(parent["prompt"]):
        return "meta"
    known = {found for source in draft.sources for found in PLACEHOLDER.findall(source["prompt"])}
    if set(PLACEHOLDER.findall(message)) - known or BLANK.search(message):
        return "placeholder"
    if reason := _foreign(filters, message, parent["prompt"]):
        return reason
    if filters.index.nearest(message) > settings.max_similarity:
        return "near_copy"
    if grounded(message, " ".join(source["prompt"] for source in draft.sources), parent["prompt"]) < GROUNDED:
        return "drift"
    if filters.labels is not None and parent["label"] is not None:
        scores = dict(zip(filters.labels.classes_, filters.labels.predict_proba([message])[0], strict=True))
        better = sum(score > scores[parent["label"]] for score in scores.values())
        if better >= (3 if parent["label"] in filters.rare and not draft.other else 1):
            return "label"
        if draft.other and draft.other not in sorted(scores, key=scores.__getitem__, reverse=True)[:3]:
            return "not_hard"
    return None


def refuse_altered(filters: Filters, draft: Draft, message: str) -> str | None:
    """The same for a message that was altered without a model."""
    before = draft.parent["prompt"]
    if not message.strip():
        return "no_text"
    if len(text.words(message)) > 2 * filters.settings.max_words:
        return "length"
    if sorted(PLACEHOLDER.findall(message)) != sorted(PLACEHOLDER.findall(before)):
        return "placeholder"
    if reason := _foreign(filters, message, before):
        return reason
    return "near_copy" if message in filters.index.exact else None


def _foreign(filters: Filters, message: str, parent: str) -> str | None:
    """What a message may bring along from nowhere: a number, a person, a sealed row."""
    if set(NUMBER.findall(PLACEHOLDER.sub(" ", message))) - set(NUMBER.findall(PLACEHOLDER.sub(" ", parent))):
        return "number"
    if privacy.find(message, filters.detector):
        return "personal_data"
    return "test_row" if filters.sealed.nearest(message) >= filters.near else None


def repeats(message: str) -> bool:
    """A model that runs in a circle: fewer than two in three of ten or more word pairs differ."""
    found = text.words(message)
    pairs = list(zip(found, found[1:], strict=False))
    return len(pairs) >= 10 and len(set(pairs)) < 0.67 * len(pairs)


def grounded(message: str, sources: str, parent: str) -> float:
    """Share of the message's content words that its sources have, or of its parent's that it has, whichever is lower.

    Words count by their first five letters; 1.0 where one side has no content word.
    """
    new, shown, old = ({word[:5] for word in text.words(found) if word not in COMMON} for found in (message, sources, parent))
    return min(len(new & shown) / len(new), len(new & old) / len(old)) if new and old else 1.0


def is_english(message: str) -> bool:
    """Rough, needs no model: 9 of 10 letters are ASCII, and of eight words or more one is among the commonest English ones."""
    letters = [letter for letter in message if letter.isalpha()]
    found = text.words(message)
    plain = sum(letter.isascii() for letter in letters) >= 0.9 * len(letters)
    return plain and (len(found) < 8 or any(word in COMMON for word in found))


def classifier(rows: list[dict]) -> "Pipeline | None":
    """TF-IDF and logistic regression over real train rows, None where they have fewer than two labels."""
    labelled = [row for row in rows if row["label"] is not None]
    if len({row["label"] for row in labelled}) < 2:
        return None
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(tokenizer=text.words, token_pattern=None, lowercase=False, ngram_range=(1, 2), sublinear_tf=True)
    found = make_pipeline(words, LogisticRegression(C=10, max_iter=300, class_weight="balanced"))
    return found.fit([row["prompt"] for row in labelled], [row["label"] for row in labelled])
