"""The embedded model says the same in this process and through the endpoint over HTTP, to many clients at once."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import torch
import uvicorn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.foundation import chat, embedded, local
from pipelines.foundation.messages import Call, Reply, Request
from pipelines.foundation.step import open_night
from pipelines.sections import Endpoint
from pipelines.system.batching import Batcher
from pipelines.system.endpoint import build
from pipelines.system.models import Models

END = "<|im_end|>"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
QUESTIONS = ["Say hello.", "Where is my card?", "What is the rate?", "Name a fruit.", "My card is gone, what now?", "Ünicode, too?"]


def write_small_model(folder: Path) -> None:
    """A random model of two layers, one token a byte, in the place of the embedded one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={END: 0} | {letter: i + 1 for i, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=END)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    ends = {"eos_token_id": 0, "pad_token_id": 0, "bos_token_id": 0}
    LlamaForCausalLM(LlamaConfig(vocab_size=257, **shape, **ends, initializer_range=0.2)).save_pretrained(folder)


@pytest.fixture(params=["small", pytest.param("real", marks=pytest.mark.slow)])
def served(request: pytest.FixtureRequest, house: Callable, tmp_path: Path) -> Iterator[Endpoint]:
    """The endpoint on a free port, as a profile would name it."""
    house()
    if request.param == "small":
        write_small_model(tmp_path / "state" / "models" / embedded.NAME)
    night = Models(open_night("small", "local", "9999-12-31"))
    night.refresh()
    batcher = Batcher(night)
    server = uvicorn.Server(uvicorn.Config(build(night, batcher), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Endpoint(kind="openai", url=f"http://127.0.0.1:{port}/v1", model="base", logprobs=True)
    server.should_exit = True
    thread.join()
    batcher.close()


def test_the_same_text_in_this_process_and_over_http(served: Endpoint, tmp_path: Path) -> None:
    asked = [Request("", text, 12 + place, 0.7 * (place % 2), seed=place) for place, text in enumerate(QUESTIONS)]
    own = local.answer(tmp_path / "state" / "models", [Call(str(place), request) for place, request in enumerate(asked)], 4)
    wanted = {found.key: found.reply for found in own}

    def post(place: int) -> Reply:
        said = requests.post(
            f"{served.url}/chat/completions", json=chat.body(served, asked[place]), headers={"Idempotency-Key": f"k{place}"}, timeout=60
        )
        assert said.status_code == 200, said.text
        return chat.reply(served, asked[place], said.content)

    with ThreadPoolExecutor(len(asked)) as pool:
        for place, reply in enumerate(pool.map(post, range(len(asked)))):
            assert (reply.text, reply.usage) == (wanted[str(place)].text, wanted[str(place)].usage)
            assert reply.logprobs == pytest.approx(wanted[str(place)].logprobs, abs=1e-3)
