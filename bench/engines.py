"""Engines that `bench.generation` measures: each starts with the embedded model and answers together or alone, greedily."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipelines.foundation import decoding, embedded
from pipelines.settings import ROOT

Written = tuple[str, int]  # text and tokens
Together = Callable[[list[str], int, list[str]], list[Written]]
Alone = Callable[[str, int, list[str]], Written]
SLOTS = 16
THREADS = 2


def _base() -> Path:
    return embedded.prepare(ROOT / ".nightshift/models")


def ours(_: Path) -> tuple[Together, Alone]:
    """`pipelines.foundation.decoding`."""
    model, tokenizer = embedded.load(_base())

    def together(prompts: list[str], limit: int, choices: list[str]) -> list[Written]:
        found = decoding.generate(model, tokenizer, prompts, limit, choices=choices or None)
        return [(row.text, row.completion_tokens) for row in found]

    return together, lambda prompt, limit, choices: together([prompt], limit, choices)[0]


def transformers(_: Path) -> tuple[Together, Alone]:
    """`generate` of transformers in fp32, 16 rows of like length together."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = embedded.load_tokenizer(_base())
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(_base(), dtype=torch.float32).eval()

    def some(prompts: list[str], limit: int) -> list[Written]:
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        ids = model.generate(**inputs, max_new_tokens=limit, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        counts = (ids != tokenizer.pad_token_id).sum(1).tolist()
        return list(zip(tokenizer.batch_decode(ids, skip_special_tokens=True), counts, strict=True))

    def together(prompts: list[str], limit: int, _choices: list[str]) -> list[Written]:
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        found: dict[int, Written] = {}
        for start in range(0, len(order), SLOTS):
            places = order[start : start + SLOTS]
            found |= zip(places, some([prompts[place] for place in places], limit), strict=True)
        return [found[place] for place in range(len(prompts))]

    return together, lambda prompt, limit, _choices: some([prompt], limit)[0]


def openvino(home: Path) -> tuple[Together, Alone]:
    """OpenVINO GenAI with its continuous batching, fp32 also for keys and values; it reads a GGUF file of half precision."""
    import openvino_genai

    tokenizer = embedded.load_tokenizer(_base())
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size, scheduler.enable_prefix_caching, scheduler.max_num_batched_tokens = 4, True, 1024
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    pipe = openvino_genai.LLMPipeline(str(_gguf(home, "f16")), "CPU", scheduler_config=scheduler, **exact)

    def together(prompts: list[str], limit: int, _choices: list[str]) -> list[Written]:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.do_sample, config.apply_chat_template = limit, False, False
        texts = pipe.generate(prompts, config).texts
        return [(text, len(tokenizer(text)["input_ids"])) for text in texts]

    return together, lambda prompt, limit, choices: together([prompt], limit, choices)[0]


def ctranslate2(home: Path) -> tuple[Together, Alone]:
    """CTranslate2 in fp32."""
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    tokenizer, folder = embedded.load_tokenizer(_base()), home / "ctranslate2"
    if not folder.is_dir():
        TransformersConverter(str(_base())).convert(str(folder), quantization="float32")
    generator = ctranslate2.Generator(str(folder), device="cpu", compute_type="float32", inter_threads=1, intra_threads=THREADS)
    fixed = {"sampling_topk": 1, "include_prompt_in_result": False, "end_token": [tokenizer.eos_token_id]}

    def together(prompts: list[str], limit: int, _choices: list[str]) -> list[Written]:
        ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
        texts = [tokenizer.convert_ids_to_tokens(row) for row in ids]
        found = generator.generate_batch(texts, max_length=limit, max_batch_size=4096, batch_type="tokens", **fixed)
        rows = [row.sequences_ids[0] for row in found]
        return [(tokenizer.decode(row, skip_special_tokens=True), len(row)) for row in rows]

    return together, lambda prompt, limit, choices: together([prompt], limit, choices)[0]


def llama(home: Path, kind: str) -> tuple[Together, Alone]:
    """llama.cpp's server of xllamacpp: 16 slots with one memory of keys and values, asked by 16 clients and by one."""
    import requests
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(embedded._gguf_file() if kind == "q4" else _gguf(home, kind))
    params.n_parallel, params.n_ctx, params.kv_unified = SLOTS, 1024 * SLOTS, True
    params.hostnames, params.port, params.verbosity = ["127.0.0.1"], 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    server = xllamacpp.Server(params)
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=SLOTS))

    def alone(prompt: str, limit: int, _choices: list[str]) -> Written:
        body = {"prompt": prompt, "n_predict": limit, "temperature": 0}
        said = session.post(f"{server.listening_address}/completion", json=body, timeout=600).json()
        return said["content"], said["tokens_predicted"]

    def together(prompts: list[str], limit: int, choices: list[str]) -> list[Written]:
        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(lambda prompt: alone(prompt, limit, choices), prompts))

    return together, alone


def _gguf(home: Path, kind: str) -> Path:
    """The embedded model's weights, as we hold them, in a GGUF file of f32 or f16."""
    import gguf
    import numpy as np

    path = home / f"{kind}.gguf"
    if path.exists():
        return path
    reader, writer = gguf.GGUFReader(embedded._gguf_file()), gguf.GGUFWriter(path.with_suffix(".part"), "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in ("general.architecture", "general.file_type", "general.quantization_version"):
            kinds = field.types
            writer.add_key_value(key, field.contents(), kinds[0], sub_type=kinds[1] if len(kinds) > 1 else None)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if kind == "f32" else gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
        writer.add_tensor(tensor.name, values if kind == "f16" and values.ndim > 1 else values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.with_suffix(".part").rename(path)


@contextmanager
def endpoint() -> Iterator[str]:
    """The served base model on a free port; gives its URL."""
    import uvicorn

    from pipelines.foundation.step import open_night
    from pipelines.system.batching import Batcher
    from pipelines.system.endpoint import AFTER_EVERY_NIGHT, build
    from pipelines.system.models import Models

    models = Models(open_night("support", "local", AFTER_EVERY_NIGHT))
    models.refresh()
    batcher = Batcher(models)
    server = uvicorn.Server(uvicorn.Config(build(models, batcher), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    batcher.close()


START: dict[str, Callable[[Path], tuple[Together, Alone]]] = {
    "ours": ours,
    "transformers": transformers,
    "openvino": openvino,
    "ctranslate2": ctranslate2,
    "llama.cpp": lambda home: llama(home, "f32"),
    "llama.cpp-q4": lambda home: llama(home, "q4"),
}
MODULE = {"openvino": "openvino_genai", "ctranslate2": "ctranslate2", "llama.cpp": "xllamacpp", "llama.cpp-q4": "xllamacpp"}
