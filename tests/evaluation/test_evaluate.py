"""A whole evaluation with a Llama of two layers: memo, scores, judgements, the look, and the gate after it."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.errors import NightStopped
from pipelines.evaluation.evaluate import evaluate
from pipelines.foundation import embedded, ledger, registry
from pipelines.foundation.step import Night, open_night, step
from pipelines.release.gate import gate

House = Callable[..., Path]
JUDGE = "Message: {prompt}\nA: {answer_a}\nB: {answer_b}\nEnd with VERDICT: A, B or tie."
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer Llama that reads bytes, and a LoRA adapter of it."""
    torch.manual_seed(0)
    where = tmp_path_factory.mktemp("tiny")
    letters = {letter: place for place, letter in enumerate(["<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    words = Tokenizer(models.BPE(vocab=letters, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<eos>", chat_template=CHAT)
    tokenizer.save_pretrained(where / embedded.NAME)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": 512}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(letters), **shape, **special, tie_word_embeddings=True, initializer_range=0.5))
    model.save_pretrained(where / embedded.NAME)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, lora).save_pretrained(where / "adapter")
    return where


@pytest.fixture
def run(house: House, tiny: Path, tmp_path: Path) -> Callable[..., dict]:
    """`run(night, prompts, seed)` stands for the steps before, then evaluates."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "models").symlink_to(tiny)
    files = {"prompts/judge.txt": JUDGE}
    evaluation = {"judge": {"prompt": "judge.txt", "max_items": 2}}
    task = {"answer": "label_reply", "max_new_tokens": 12}
    house(files, task=task, evaluation=evaluation, gate={"metrics": {"accuracy": 0.05, "macro_f1": 0.05, "chrf": 0.05}, "min_items": 2})

    def work(night: str, prompts: list[str], seed: int = 0) -> dict:
        stand_in(night, prompts, tiny / "adapter", seed)
        return evaluate("small", "local", night)

    return work


def stand_in(date: str, prompts: list[str], adapter: Path, seed: int) -> None:
    """The rows and the adapter that the steps before evaluate leave behind."""

    @step(code=1, extra=lambda night: prompts)
    def split(night: Night) -> dict:
        rows = [
            {"example_id": f"e-{text}", "group_id": f"g-{text}", "prompt": text, "response": "It is so.", "label": label, "split": "test"}
            for text, label in zip(prompts, ["blue", "red"] * len(prompts), strict=False)
        ]
        train = {"example_id": "t", "group_id": "t", "prompt": "train", "response": "", "label": "red", "split": "train"}
        return {"examples": night.lake.replace("examples", [row | {"night": date} for row in [*rows, train]], night=date)}

    @step(code=1, after="split", extra=lambda night: seed)
    def finetune(night: Night) -> dict:
        import mlflow

        client = registry.client(night)
        with mlflow.start_run() as active:
            model = mlflow.initialize_logged_model(name="adapter")
            client.log_model_artifacts(model.model_id, str(adapter))
            mlflow.finalize_logged_model(model.model_id, "READY")
        return {"adapter": f"models:/{model.model_id}", "model": night.key, "run_id": active.info.run_id}

    split("small", "local", date)
    finetune("small", "local", date)


def test_an_evaluation_writes_answers_scores_grades_and_one_look(run: Callable[..., dict]) -> None:
    found = run("2026-11-20", ["one", "two", "three"])
    lake = open_night("small", "local", "2026-11-20").lake
    predictions = lake.read("predictions", found["predictions"]).to_pylist()
    assert {(row["model"], row["example_id"]) for row in predictions} == {
        (model, f"e-{text}") for model in ("base", found["candidate"]["key"]) for text in ("one", "two", "three")
    }
    assert {row["label"] for row in predictions} <= {"blue", "red"}
    assert lake.read("scores", found["scores"]).num_rows == 9
    assert lake.read("judgements", found["judgements"]).num_rows == 4
    assert found["judge"]["advisory"] is True
    assert [entry.body["candidate"] for entry in ledger.entries(lake) if entry.kind == "look"] == [found["candidate"]["key"]]
    assert set(found["metrics"]) == {"accuracy", "macro_f1", "rouge_l", "chrf"}
    assert found["generated"] == 6
    night = open_night("small", "local", "2026-11-20")
    logged = registry.client(night).get_run(night.before("finetune")["run_id"]).data.metrics
    assert logged["candidate_chrf"] == pytest.approx(found["metrics"]["chrf"]["candidate"])


def test_the_next_night_generates_only_what_is_new(run: Callable[..., dict], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipelines")
    first = run("2026-11-20", ["one", "two", "three"])
    second = run("2026-11-21", ["four"])
    assert (first["generated"], second["items"]) == (6, 4)
    assert (second["generated"], second["reused"]) == (5, 3)  # the champion's three old answers are there already
    lake = open_night("small", "local", "2026-11-21").lake
    assert lake.read("predictions", second["predictions"], where="night = '2026-11-21'").num_rows == 8
    assert "base: 1 rows to answer, 3 answered before" in caplog.text


def test_a_repeated_evaluation_generates_nothing(run: Callable[..., dict], house: House) -> None:
    first = run("2026-11-20", ["one", "two", "three"])
    assert run("2026-11-20", ["one", "two", "three"])["memo"] is True
    night = open_night("small", "local", "2026-11-20")
    changed = {"judge": {"prompt": "", "max_items": 1}}
    house(task=night.usecase.task.model_dump(), evaluation=changed, gate=night.usecase.gate.model_dump())
    again = evaluate("small", "local", "2026-11-20")
    assert (again["memo"], again["generated"], again["reused"], again["judge"]) == (False, 0, 6, {})
    assert again["metrics"] == first["metrics"]


def test_a_row_longer_than_the_model_reads_is_missing_and_the_gate_says_so(run: Callable[..., dict]) -> None:
    run("2026-11-20", ["one", "two", "three", "x" * 600])
    found = gate("small", "local", "2026-11-20")
    assert {name: (metric["n"], metric["missing"]) for name, metric in found["metrics"].items()} == dict.fromkeys(
        ("accuracy", "macro_f1", "chrf"), (3, 1)
    )
    assert (found["verdict"], found["looks"]) == ("INSUFFICIENT_DATA", 1)
    assert ledger.verify(open_night("small", "local", "2026-11-20").lake) == 2


def test_no_sealed_row_stops_the_night(run: Callable[..., dict]) -> None:
    with pytest.raises(NightStopped, match="no sealed rows up to 2026-11-20"):
        run("2026-11-20", [])
