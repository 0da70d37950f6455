"""A whole evaluation with a Llama of two layers: memo, scores, judgements, staging, and the look."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.errors import NightStopped, UserError
from pipelines.evaluation.evaluate import evaluate
from pipelines.foundation import embedded, ledger, registry
from pipelines.foundation.step import Night, open_night, step
from tests.servers import ChatServer, fenced

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
    evaluation = {"judges": {"taste": {"prompt": "judge.txt", "max_items": 2, "max_new_tokens": 12}}}
    task = {"answer": "label_reply", "max_new_tokens": 12}
    house(files, task=task, evaluation=evaluation, gate={"metrics": {"accuracy": 0.05, "macro_f1": 0.05, "chrf": 0.05}, "min_items": 2})

    def work(night: str, prompts: list[str], seed: int = 0) -> dict:
        stand_in(night, prompts, tiny / "adapter", seed)
        return evaluate("small", "local", night)

    return work


def stand_in(date: str, prompts: list[str], adapter: Path, seed: int) -> None:
    """The rows and the adapter that the steps before evaluate leave behind."""

    @step(code=1, extra=lambda night: {"given": prompts})
    def split(night: Night) -> dict:
        rows = [
            {"example_id": f"e-{text}", "group_id": f"g-{text}", "prompt": text, "response": "It is so.", "label": label, "split": "test"}
            for text, label in zip(prompts, ["blue", "red"] * len(prompts), strict=False)
        ]
        train = {"example_id": "t", "group_id": "t", "prompt": "train", "response": "", "label": "red", "split": "train"}
        return {"examples": night.lake.replace("examples", [row | {"night": date} for row in [*rows, train]], night=date)}

    @step(code=1, after="split", extra=lambda night: {"given": seed})
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
    scores = lake.read("scores", found["scores"]).to_pylist()
    assert Counter(row["metric"] for row in scores) == {"accuracy": 3, "rouge_l": 3, "chrf": 3, "tokens": 3, "taste": 2}
    assert {row["model"] for row in scores} == {found["candidate"]["key"]}
    assert [row["purpose"] for row in lake.read("judgements", found["judgements"]).to_pylist()] == ["night"] * 4
    assert (found["judges"]["taste"]["items"], found["judges"]["taste"]["kind"], found["staging"]) == (2, "pairwise", None)
    assert [entry.body["candidate"] for entry in ledger.entries(lake) if entry.kind == "look"] == [found["candidate"]["key"]]
    assert set(found["metrics"]) == {"accuracy", "macro_f1", "rouge_l", "chrf", "tokens"}
    assert -12 <= found["metrics"]["tokens"]["candidate"] <= 0
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
    house(task=night.usecase.task.model_dump(), evaluation={"judges": {}}, gate=night.usecase.gate.model_dump())
    again = evaluate("small", "local", "2026-11-20")
    assert (again["memo"], again["generated"], again["reused"], again["judges"]) == (False, 0, 6, {})
    assert again["metrics"] == first["metrics"]


def test_a_row_longer_than_the_model_reads_is_missing_and_never_zero(run: Callable[..., dict]) -> None:
    found = run("2026-11-20", ["one", "two", "three", "x" * 600])
    lake = open_night("small", "local", "2026-11-20").lake
    rows = lake.read("scores", found["scores"], where="metric <> 'taste'").to_pylist()
    missing = [row for row in rows if row["example_id"] == "e-" + "x" * 600]
    assert {(row["champion"], row["candidate"]) for row in missing} == {(None, None)}
    assert Counter(row["metric"] for row in rows if row["champion"] is not None) == dict.fromkeys(
        ("accuracy", "rouge_l", "chrf", "tokens"), 3
    )
    assert len(ledger.entries(lake)) == 1


def test_no_sealed_row_stops_the_night(run: Callable[..., dict]) -> None:
    with pytest.raises(NightStopped, match="no sealed rows up to 2026-11-20"):
        run("2026-11-20", [])


def judged(run: Callable[..., dict], house: House, server: ChatServer, **settings: object) -> tuple[dict, list[dict]]:
    """A night with the judge `taste` on a server: its counts, and its rows of the table `scores`."""
    task, gate = {"answer": "reply", "max_new_tokens": 12}, {"metrics": {"chrf": 0.05}}
    judge = {"prompt": "judge.txt", "members": ["large"]} | settings
    template = JUDGE if judge.get("kind") != "pointwise" else "{prompt}\n{answer}\nGRADE: 1 to 5."
    house(
        {"prompts/judge.txt": template},
        {"endpoints": {"large": server.endpoint().model_dump()}},
        task=task,
        gate=gate,
        evaluation={"judges": {"taste": judge}},
    )
    found = run("2026-11-20", ["one", "two", "three"])
    scores = open_night("small", "local", "2026-11-20").lake.read("scores", found["scores"], where="metric = 'taste'").to_pylist()
    return found["judges"]["taste"], scores


def test_a_win_in_both_orders_scores_one_and_a_contradiction_a_half(run: Callable[..., dict], house: House) -> None:
    steady = lambda call: "VERDICT: A" if fenced(call)[1] < fenced(call)[2] else "VERDICT: B"  # noqa: E731
    with ChatServer(answer=lambda call: "VERDICT: A" if "one" in fenced(call)[0] else steady(call)) as server:
        found, scores = judged(run, house, server)
    by_item = {row["example_id"]: (row["champion"], row["candidate"]) for row in scores}
    assert by_item["e-one"] == (0.5, 0.5)
    assert {by_item["e-two"], by_item["e-three"]} <= {(0.0, 1.0), (1.0, 0.0)}
    assert (found["items"], found["inconsistent"], found["unscored"], found["usable"]) == (3, 1, 0, True)
    assert found["wins"] + found["losses"] + found["ties"] == 3


def test_a_grader_passes_or_fails_each_side_and_its_silence_is_no_zero(run: Callable[..., dict], house: House) -> None:
    grade = lambda call: "No idea." if "two" in fenced(call)[0] else f"GRADE: {4 if 'one' in fenced(call)[0] else 3}"  # noqa: E731
    with ChatServer(answer=grade) as server:
        found, scores = judged(run, house, server, kind="pointwise")
    assert {row["example_id"]: (row["champion"], row["candidate"]) for row in scores} == {
        "e-one": (1.0, 1.0),
        "e-two": (None, None),
        "e-three": (0.0, 0.0),
    }
    assert (found["unscored"], found["usable"], found["candidate_passes"]) == (1, False, 0.5)


def test_a_judge_without_its_endpoint_leaves_the_night_unscored_and_going(run: Callable[..., dict], house: House) -> None:
    with ChatServer() as server:
        found, scores = judged(run, house, server, members=["nowhere"])
    assert (found["items"], found["unscored"], found["usable"]) == (3, 3, False)
    assert {(row["champion"], row["candidate"]) for row in scores} == {(None, None)}


def test_a_model_in_staging_answers_the_rows_that_are_fresh_for_it(run: Callable[..., dict]) -> None:
    first = run("2026-11-20", ["one", "two", "three"])
    night = open_night("small", "local", "2026-11-20")
    client = registry.client(night)
    client.create_registered_model("small")
    source = night.before("finetune")["adapter"]
    version = client.create_model_version("small", source, tags={registry.KEY_TAG: first["candidate"]["key"]}).version
    registry.move(night, "staging", {"version": str(version)}, expected=None)
    second = run("2026-11-21", ["four", "five"])
    assert second["staging"] == {"key": first["candidate"]["key"], "version": str(version), "items": 2}
    rows = night.lake.read("scores", second["scores"], where="night = '2026-11-21'").to_pylist()
    staged = [row for row in rows if row["model"] == first["candidate"]["key"]]
    assert {(row["example_id"], row["metric"]) for row in staged} == {
        (f"e-{text}", metric) for text in ("four", "five") for metric in ("accuracy", "rouge_l", "chrf", "tokens")
    }
    assert all(row["champion"] is not None and row["candidate"] is not None for row in staged)
    assert len({(row["example_id"], row["metric"], row["model"]) for row in rows}) == len(rows)


def test_the_gate_may_read_what_a_thousand_requests_cost_and_the_profile_must_have_the_price(
    run: Callable[..., dict], house: House
) -> None:
    gate = {"metrics": {"cost": 0.05}}
    house(gate=gate, task={"answer": "label_reply", "max_new_tokens": 12}, profile={"prices": {embedded.NAME: {"input": 1, "output": 4}}})
    found = run("2026-11-20", ["one", "two", "three"])
    lake = open_night("small", "local", "2026-11-20").lake
    [row] = lake.read("predictions", found["predictions"], where="model = 'base' AND example_id = 'e-one'").to_pylist()
    [score] = lake.read("scores", found["scores"], where="metric = 'cost' AND example_id = 'e-one'").to_pylist()
    assert score["champion"] == pytest.approx(-(row["prompt_tokens"] + 4 * row["completion_tokens"]) / 1_000)
    house(gate=gate, task={"answer": "label_reply", "max_new_tokens": 12})
    with pytest.raises(UserError, match="gate.metrics names cost, but the profile has no price"):
        evaluate("small", "local", "2026-11-20")


def test_the_run_names_the_sealed_rows_by_table_version_and_holds_none_of_their_texts(run: Callable[..., dict]) -> None:
    run("2026-11-20", ["one secret", "two"])
    night = open_night("small", "local", "2026-11-20")
    [given] = registry.client(night).get_run(night.before("finetune")["run_id"]).inputs.dataset_inputs
    assert (given.dataset.name, [tag.value for tag in given.tags]) == ("small.sealed", ["evaluation"])
    assert json.loads(given.dataset.source)["delta_table_version"] == night.before("split")["examples"]
    assert json.loads(given.dataset.profile)["rows"] == 2 and "secret" not in str(given.to_dictionary())
