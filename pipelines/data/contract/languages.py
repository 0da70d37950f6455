"""py3langid's language of many texts at once: its automaton walks one byte of all texts a step, its scores are one product.

The answers of `LanguageIdentifier.classify`, several times as fast; a test holds the two together.
"""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

AT_ONCE = 8_192  # texts


class Guess(NamedTuple):
    """One language a text."""

    codes: "np.ndarray"  # ISO 639, str [texts]
    probabilities: "np.ndarray"  # float [texts]


class Identifier:
    """The model that py3langid ships."""

    def __init__(self) -> None:
        """Reads the model: half a second."""
        import numpy as np
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self.codes = np.array(model.nb_classes)
        self._next, self._output = np.array(model.tk_nextmove, np.int64), np.array(model.tk_output, np.int64)
        self._row = np.array(model.tk_row, np.int64) << 8
        self._weights, self._prior = model.nb_ptc.astype(np.float32), np.asarray(model.nb_pc, np.float32)
        self._same = [(first, at) for at, code in enumerate(self.codes) if (first := self.codes.tolist().index(code)) < at]

    def classify(self, texts: Sequence[str]) -> Guess:
        """The likeliest language of each text and how likely it is."""
        import numpy as np

        parts = [self._some(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
        if not parts:
            return Guess(np.empty(0, self.codes.dtype), np.empty(0))
        return Guess(np.concatenate([part.codes for part in parts]), np.concatenate([part.probabilities for part in parts]))

    def _some(self, texts: Sequence[str]) -> Guess:
        import numpy as np
        from scipy.sparse import csr_matrix

        encoded = [_encode(text) for text in texts]
        sizes = np.array(list(map(len, encoded)))
        rows, features = self._walk(b"".join(encoded), sizes)
        keys, counts = np.unique(rows * len(self._weights) + features, return_counts=True)
        places = np.divmod(keys, len(self._weights))
        found = csr_matrix((np.log1p(counts.astype(np.float32)), places), shape=(len(texts), len(self._weights)))
        scores = found @ self._weights + self._prior
        scores[np.diff(found.indptr) == 0] = 0  # nothing known in it: all languages are alike
        scores *= 1 / np.sqrt(np.maximum(sizes, 1))[:, None]
        scores = np.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        for first, again in self._same:
            scores[:, first] += scores[:, again]
            scores[:, again] = 0
        best = scores.argmax(1)
        return Guess(self.codes[best], scores[np.arange(len(best)), best])

    def _walk(self, letters: bytes, sizes: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """(text, feature) of every feature that the automaton puts out."""
        import numpy as np

        stream, order = np.frombuffer(letters, np.uint8), np.argsort(-sizes, kind="stable")
        starts, longest = (np.cumsum(sizes) - sizes)[order], sizes[order]
        state, seen = np.zeros(len(sizes), np.int64), [(order[:0], order[:0])]
        for step in range(longest[0] if len(longest) else 0):
            active = int(np.searchsorted(-longest, -step))  # texts that are longer than this
            state = state[:active]
            state = self._next[self._row[state] + stream[starts[:active] + step]]
            output = self._output[state]
            hits = np.flatnonzero(output >= 0)
            seen.append((order[hits], output[hits]))
        return np.concatenate([rows for rows, _ in seen]), np.concatenate([features for _, features in seen])


def _encode(text: str) -> bytes:
    text = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
