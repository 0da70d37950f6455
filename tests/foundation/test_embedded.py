"""The embedded model: conversion, packed forward pass and answers, on a tiny model except where the name says real."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.foundation import decoding, embedded
from pipelines.foundation.packed import attention, blocks, pack, shared_prefix

END = "<|im_end|>"
PROMPTS = ["ask: where is my card?", "ask: a", "ask: top up failed, please look into it", "other", "ask: where is my cash?"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and an end-of-turn token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={END: 0} | {letter: i + 1 for i, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=END, padding_side="left")


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """Two layers with grouped heads and random weights."""
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    ends = {"eos_token_id": 0, "pad_token_id": 0, "bos_token_id": 0}
    return LlamaForCausalLM(LlamaConfig(vocab_size=257, **shape, **ends, initializer_range=0.2)).eval()


def written(found: list[decoding.Completion]) -> list[tuple]:
    """All but the log-probabilities, which carry float noise."""
    return [row._replace(logprobs=()) for row in found]


def test_rows_laid_end_to_end_get_the_hidden_states_of_single_rows(model: LlamaForCausalLM) -> None:
    rows = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 1, 2, 3, 4]]
    prefix = shared_prefix(rows)
    packed = pack([len(row) - prefix for row in rows], prefix)
    flat = torch.tensor(rows[0][:prefix] + [token for row in rows for token in row[prefix:]])
    with torch.no_grad():
        found = model.model.norm(blocks(model, model.model.embed_tokens(flat), packed.positions, attention(packed)))
        wanted = [model.model(torch.tensor([row])).last_hidden_state[0] for row in rows]
    assert prefix == 2
    assert torch.allclose(found, torch.cat([wanted[0][:2], *(row[2:] for row in wanted)]), atol=1e-5)


def test_the_shared_prefix_leaves_every_row_a_token_of_its_own() -> None:
    assert shared_prefix([[1, 2, 3], [1, 2]]) == 1
    assert shared_prefix([[1, 2, 3]]) == 2
    assert shared_prefix([[1], [2]]) == 0


def test_greedy_answers_are_those_of_transformers_generate(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    found = decoding.generate(model, tokenizer, PROMPTS, 12)
    inputs = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    assert [row.text for row in found] == tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert [row.prompt_tokens for row in found] == [len(prompt) for prompt in PROMPTS]


def test_an_answer_does_not_depend_on_its_neighbours(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    together = decoding.generate(model, tokenizer, PROMPTS, 12, choices=["card", "cash"])
    alone = [decoding.generate(model, tokenizer, [prompt], 12, choices=["card", "cash"])[0] for prompt in PROMPTS]
    few = decoding.generate(model, tokenizer, PROMPTS, 12, choices=["card", "cash"], batch_tokens=80)
    assert written(together) == written(alone) == written(few)
    for one, other in zip(together * 2, alone + few, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)  # sums of floats, taken in another order


def test_rows_may_have_limits_of_their_own(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    whole = decoding.generate(model, tokenizer, PROMPTS, 12)
    limited = decoding.generate(model, tokenizer, PROMPTS, [1, 12, 5, 2, 9])
    assert [row.tokens for row in limited] == [row.tokens[:limit] for row, limit in zip(whole, [1, 12, 5, 2, 9], strict=True)]


def test_prompts_longer_than_one_pass_are_read_whole(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    prompts = ["a b " * 400, "a b " * 100 + "c", "a b c " * 300]  # more than one stretch of queries, and than one pass
    found = decoding.generate(model, tokenizer, prompts, 6)
    assert written(found) == [written(decoding.generate(model, tokenizer, [prompt], 6))[0] for prompt in prompts]
    inputs = tokenizer(prompts[:1], return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
    assert list(found[0].tokens) == [token for token in ids if token != tokenizer.eos_token_id]


def test_what_some_of_the_prompts_share_is_read_once(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    rule, one, two = "rule " * 20, "message one " * 10, "another text " * 10
    prompts = [rule + one + "a", rule + two + "b", rule + one + "c", rule + two + "b", "x"]
    read: list[int] = []
    hook = model.model.embed_tokens.register_forward_hook(lambda _module, tokens, _out: read.append(tokens[0].numel()))
    found = decoding.generate(model, tokenizer, prompts, 1)
    hook.remove()
    assert sum(read) == len(rule + one + two) + len("acbbx")
    assert written(found) == [written(decoding.generate(model, tokenizer, [prompt], 1))[0] for prompt in prompts]


def test_log_probabilities_are_those_of_the_model_on_its_own_text(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    for temperature in (0.0, 1.5):
        for prompt, row in zip(PROMPTS, decoding.generate(model, tokenizer, PROMPTS, 8, temperature=temperature), strict=True):
            ids = torch.tensor([tokenizer(prompt)["input_ids"] + list(row.tokens)])
            with torch.no_grad():
                wanted = (model(ids).logits[0, -1 - len(row.tokens) : -1] / (temperature or 1)).log_softmax(-1)
            assert row.logprobs == pytest.approx([wanted[i, token].item() for i, token in enumerate(row.tokens)], abs=1e-4)


def test_a_forced_token_is_certain_and_a_choice_is_weighed_among_the_choices(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    [row] = decoding.generate(model, tokenizer, ["ask: a"], 4, choices=["card", "cash"])
    with torch.no_grad():
        logits = model(torch.tensor(tokenizer(["ask: aca"])["input_ids"])).logits[0, -1]
    both = logits[[row.tokens[2], tokenizer("s" if row.text == "card" else "r")["input_ids"][0]]]
    assert row.logprobs == pytest.approx([0, 0, both.log_softmax(-1)[0].item(), 0], abs=1e-4)


def test_the_first_line_is_exactly_one_of_the_choices(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    choices = ["card", "card lost", "cash", "top up"]  # one begins another
    for temperature in (0.0, 1.0, 5.0):
        found = decoding.generate(model, tokenizer, PROMPTS * 4, 40, choices=choices, temperature=temperature)
        assert all(row.text.split("\n")[0] in choices for row in found)
        assert all(row.finish_reason == "stop" or row.completion_tokens == 40 for row in found)
    assert {row.text.split("\n")[0] for row in found} == set(choices)


def test_samples_repeat_for_a_seed_and_differ_between_seeds(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    one = written(decoding.generate(model, tokenizer, PROMPTS, 12, temperature=1.0, seed=1))
    assert one == written(decoding.generate(model, tokenizer, PROMPTS, 12, temperature=1.0, seed=1))
    assert one[:1] == written(decoding.generate(model, tokenizer, PROMPTS[:1], 12, temperature=1.0, seed=1))
    assert one != written(decoding.generate(model, tokenizer, PROMPTS, 12, temperature=1.0, seed=2))


def test_an_answer_that_ends_says_stop_and_one_cut_says_length(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    cut = decoding.generate(model, tokenizer, ["x"], 3, choices=["cards"])
    assert [(row.text, row.finish_reason, row.completion_tokens) for row in cut] == [("car", "length", 3)]
    ended = decoding.generate(model, tokenizer, ["x"] * 60, 6, choices=["cards"], temperature=3.0)
    assert "stop" in {row.finish_reason for row in ended}
    assert decoding.generate(model, tokenizer, [], 3) == []


@pytest.mark.slow
def test_the_real_model_converted_answers_like_the_one_transformers_reads(tmp_path: Path) -> None:
    folder = embedded.prepare(tmp_path)
    assert embedded.prepare(tmp_path) == folder
    assert sorted(path.name for path in tmp_path.iterdir()) == [embedded.NAME]
    model, tokenizer = embedded.load(folder)
    source = embedded._gguf_file()
    other = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    ids = tokenizer(["The capital of France is Paris, and that of Italy is Rome."], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found, wanted = (m(ids).logits.log_softmax(-1).float() for m in (model, other))
    assert torch.nn.functional.kl_div(found[0], wanted[0], log_target=True, reduction="batchmean") < 1e-3
    [answer] = decoding.generate(
        model,
        tokenizer,
        [tokenizer.apply_chat_template([{"role": "user", "content": "Say hello."}], tokenize=False, add_generation_prompt=True)],
        12,
    )
    assert "hello" in answer.text.lower()
