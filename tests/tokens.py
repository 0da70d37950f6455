"""A tokenizer alone, in the place of the embedded model's, for what only counts tokens: made in milliseconds."""

from collections.abc import Iterable
from pathlib import Path

from pipelines.foundation import embedded


def build(models: Path, texts: Iterable[str]) -> None:
    """Write it where `embedded.prepare` looks for the model in the folder `models`; every byte is a token, and what the texts repeat."""
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import BPE

    words = Tokenizer(BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1_000, initial_alphabet=alphabet, show_progress=False))
    (models / embedded.NAME).mkdir(parents=True, exist_ok=True)
    words.save(str(models / embedded.NAME / "tokenizer.json"))
