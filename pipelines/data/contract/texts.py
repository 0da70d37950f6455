"""What the text itself must be: its language, and its length in the embedded model's tokens.

A language is refused only where py3langid is sure, and only of a text with enough words; most rows need no look at all:
a text is as long in tokens as in bytes at most, and a text that comes again is judged once.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.contract.checking import Check
from pipelines.data.contract.languages import Identifier
from pipelines.errors import UserError
from pipelines.foundation import embedded
from pipelines.sections import Contract

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from tokenizers import Tokenizer

SURE = 0.9  # probability of the language


def checks(contract: Contract, state: str, where: str) -> list[Check]:
    """The checks that the contract asks for; `state` is the folder that holds the model. Raises UserError for an unknown language."""
    found = []
    if contract.languages:
        languages = Languages(contract.languages, contract.min_words, where)
        expected = f"{' or '.join(contract.languages)} from {contract.min_words} words on"
        found.append(Check("languages", expected, "language", "text", languages.broken))
    if contract.min_tokens or contract.max_tokens:
        tokens = Tokens(tokenizer(Path(state) / "models"), contract.min_tokens, contract.max_tokens)
        bounds = [f"at least {contract.min_tokens:,}"] * bool(contract.min_tokens) + [f"at most {contract.max_tokens:,}"] * bool(
            contract.max_tokens
        )
        found.append(Check("tokens", f"{' and '.join(bounds)} tokens of {embedded.NAME}", "token_length", "text", tokens.broken))
    return found


def tokenizer(home: Path) -> "Tokenizer":
    """The embedded model's tokenizer, without the library around it, which takes seconds to load; the model's folder is made."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(embedded.prepare(home) / "tokenizer.json"))


class Languages:
    """Tells texts that are surely in another language."""

    def __init__(self, wanted: list[str], min_words: int, where: str) -> None:
        """Raises UserError for a code that py3langid does not know."""
        self._identifier, self._wanted, self._min_words = Identifier(), wanted, min_words
        if unknown := sorted(set(wanted) - set(self._identifier.codes)):
            known = ", ".join(sorted(set(self._identifier.codes)))
            raise UserError(f"{where}: languages: there is no language {', '.join(map(repr, unknown))}; known are {known}")

    def broken(self, column: "pa.Array") -> "np.ndarray":
        """bool [rows]: the text has enough words and is surely in another language."""
        import numpy as np
        import pyarrow.compute as pc

        words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column))).fill_null(0)
        judged = np.flatnonzero(pc.greater_equal(words, self._min_words).to_numpy(zero_copy_only=False))
        coded = pc.dictionary_encode(column.take(judged))
        guess = self._identifier.classify(coded.dictionary.to_pylist())
        foreign = (guess.probabilities >= SURE) & ~np.isin(guess.codes, self._wanted)
        found = np.zeros(len(column), bool)
        if len(judged):
            found[judged] = foreign[coded.indices.to_numpy()]
        return found


class Tokens:
    """Counts tokens where the number of bytes does not decide."""

    def __init__(self, tokenizer: "Tokenizer", low: int, high: int) -> None:
        """`low` and `high`: bounds in tokens, 0: none."""
        self._tokenizer, self._low, self._high = tokenizer, low, high
        self._longest = max(map(len, tokenizer.get_vocab()))  # bytes of a token: byte-level vocabularies write a byte as a character

    def broken(self, column: "pa.Array") -> "np.ndarray":
        """bool [rows]: the text has too few or too many tokens."""
        import numpy as np
        import pyarrow.compute as pc

        size = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        least, most = -(-size // self._longest), size  # of tokens
        found = (most < self._low) | ((least > self._high) if self._high else False)
        sure = found | ((least >= self._low) & ((most <= self._high) if self._high else True))
        asked = np.flatnonzero(~sure & column.is_valid().to_numpy(zero_copy_only=False))
        counts = self.count(column.take(asked).to_pylist()) if len(asked) else np.empty(0, int)
        found[asked] = (counts < self._low) | ((counts > self._high) if self._high else False)
        return found & column.is_valid().to_numpy(zero_copy_only=False)

    def count(self, texts: list[str]) -> "np.ndarray":
        """int [texts]: tokens of each."""
        import numpy as np

        return np.array([len(encoded.ids) for encoded in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)], int)
