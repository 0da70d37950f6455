"""A two-layer Llama that learns from a few dozen rows in seconds, in the place of the embedded model.

Its tokenizer is trained on the texts that it will read, so that a row is forty tokens and not two hundred bytes.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from pipelines.foundation import embedded

CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


def build(models: Path, texts: Iterable[str]) -> None:
    """Write model and tokenizer where `embedded.prepare` looks for them in the folder `models`."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    folder, letters = models / embedded.NAME, pre_tokenizers.ByteLevel.alphabet()
    words = Tokenizer(BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=1_000, special_tokens=["<eos>"], initial_alphabet=letters, show_progress=False)
    words.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<eos>", chat_template=CHAT).save_pretrained(folder)
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": 384}
    config = LlamaConfig(vocab_size=words.get_vocab_size(), **SHAPE, **special, tie_word_embeddings=True, initializer_range=0.1)
    LlamaForCausalLM(config).save_pretrained(folder)


def texts(folder: Path) -> list[str]:
    """Messages, replies and labels of a folder of JSON lines, some of which cannot be read as JSON."""
    found = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl")))
    return [value.replace("_", " ") for text in found for value in re.findall(r'"(?:text|reply|intent)": "(.*?)"', text)]
