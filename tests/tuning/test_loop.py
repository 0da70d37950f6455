"""The training loop on a model of two layers."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from pipelines.errors import UserError
from pipelines.sections import Tuning
from pipelines.tuning import loop, lora
from pipelines.tuning.batches import Row, batches_per_epoch, collate, cut, members

ROWS = [Row([1, 2, 3, 10 + i % 7, 20 + i % 5], [40 + i % 7, 50 + i % 5, 0]) for i in range(35)]
TUNING = Tuning(epochs=6, learning_rate=0.02, rank=8, alpha=16, batch_rows=8, checkpoint_seconds=0)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Llama of two layers with grouped heads."""
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, **shape, tie_word_embeddings=True, initializer_range=0.2))
    where = tmp_path_factory.mktemp("model")
    model.save_pretrained(where)
    return where


def curve(folder: Path, tuning: Tuning, where: Path, kill_at: int = -1) -> list[float]:
    """Losses told to on_step; the run dies at `kill_at`."""
    losses = []

    def on_step(told: dict) -> None:
        if told["step"] == kill_at:
            raise Killed
        losses.append(told["loss"])

    loop.train(folder, ROWS, tuning, where, on_step)
    return losses


def test_the_loss_falls_and_the_report_says_so(folder: Path, tmp_path: Path) -> None:
    told: list[dict] = []
    report = loop.train(folder, ROWS, TUNING, tmp_path, told.append)
    assert report["loss_last"] < 0.5 * report["loss_first"]
    assert report["steps"] == told[-1]["step"] == told[-1]["steps"] == 6 * 5
    assert report["tokens"] == told[-1]["tokens"] == 6 * 35 * 8
    assert report["resumed_at"] == 0


@pytest.mark.parametrize(
    "tuning", [TUNING, TUNING.model_copy(update={"frozen_layers": 1, "dropout": 0.2})], ids=["plain", "frozen and dropout"]
)
def test_a_killed_run_ends_with_the_same_curve_and_adapter(folder: Path, tmp_path: Path, tuning: Tuning) -> None:
    whole = curve(folder, tuning, tmp_path / "whole")
    with pytest.raises(Killed):
        curve(folder, tuning, tmp_path / "killed", kill_at=13)
    rest = curve(folder, tuning, tmp_path / "killed")
    assert len(rest) == 30 - 12  # step 13 was lost with the run
    assert rest == pytest.approx(whole[12:], rel=1e-3)
    probe = torch.tensor([[1, 2, 3, 12, 24]])
    one, other = (loaded(folder, tmp_path / name / "adapter")(probe).logits for name in ("whole", "killed"))
    assert torch.allclose(one, other, atol=1e-3)


def loaded(folder: Path, adapter: Path) -> torch.nn.Module:
    """Base and adapter as peft loads them."""
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(adapter)).eval()


def test_a_finished_run_called_again_trains_no_step(folder: Path, tmp_path: Path) -> None:
    curve(folder, TUNING, tmp_path)
    assert loop.train(folder, ROWS, TUNING, tmp_path, lambda _: pytest.fail("a step ran"))["resumed_at"] == 30


def test_a_checkpoint_of_other_settings_or_rows_is_not_used(folder: Path, tmp_path: Path) -> None:
    curve(folder, TUNING, tmp_path)
    other = TUNING.model_copy(update={"learning_rate": 0.01})
    assert loop.train(folder, ROWS, other, tmp_path, lambda _: None)["resumed_at"] == 0
    assert loop.train(folder, ROWS[1:], other, tmp_path, lambda _: None)["resumed_at"] == 0


def test_peft_reads_the_adapter_and_it_predicts_the_targets(folder: Path, tmp_path: Path) -> None:
    curve(folder, TUNING.model_copy(update={"epochs": 20}), tmp_path)
    model = loaded(folder, tmp_path / "adapter")
    right = [model(torch.tensor([row.prompt_ids])).logits[0, -1].argmax().item() == row.completion_ids[0] for row in ROWS]
    assert sum(right) >= 33
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))  # nothing pickled


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_fused_layer_gives_the_output_and_gradients_of_peft(folder: Path, dtype: torch.dtype) -> None:
    adapter = lora.attach(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), TUNING, dtype)
    torch.nn.init.normal_(adapter.flat.data)
    layer = adapter.model.base_model.model.model.layers[0].mlp.down_proj
    x = torch.randn(7, 96, requires_grad=True)
    fused = layer(x)
    found = torch.autograd.grad(fused.square().sum(), [x, layer.lora_A["default"].weight, layer.lora_B["default"].weight])
    layer.base_layer.float()
    plain = type(layer).forward(layer, x)
    wanted = torch.autograd.grad(plain.square().sum(), [x, layer.lora_A["default"].weight, layer.lora_B["default"].weight])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for one, other in zip([fused, *found], [plain, *wanted], strict=True):
        assert (one - other).norm() < tolerance * other.norm()


def test_packed_rows_have_the_loss_of_padded_ones_and_weights_count(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = [Row([1, 2, 3], [9, 0], [2.0, 1.0]), Row([1, 2, 5, 7, 8], [11, 12, 0], [0.5, 0.5, 3.0]), Row([1, 2, 4], [13])]
    total = weight = 0.0
    for row in rows:
        logits = model(torch.tensor([row.prompt_ids + row.completion_ids])).logits[0, len(row.prompt_ids) - 1 : -1]
        weights = torch.tensor(row.weights or [1.0])
        total += weights @ torch.nn.functional.cross_entropy(logits, torch.tensor(row.completion_ids), reduction="none")
        weight += weights.sum()
    for frozen in (0, 1):
        body = loop._Body(model, rows, frozen)
        batch = collate(rows, [2, 0, 1])
        assert batch.packed.prefix == 2
        for _ in range(2):  # the second time from kept activations
            assert body.loss(batch).item() == pytest.approx((total / weight).item(), rel=1e-5)
        assert bool(body.kept) == bool(frozen)


def test_every_epoch_holds_every_row_once_in_another_order() -> None:
    steps = batches_per_epoch(35, 8)
    epochs = [[row for step in range(steps) for row in members(35, 8, 0, epoch * steps + step)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(35)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_long_row_loses_the_beginning_of_its_prompt() -> None:
    assert cut(Row([1, 2, 3, 4], [5, 6]), 4) == Row([3, 4], [5, 6])
    assert cut(Row([1, 2, 3, 4], [5, 6, 7, 8, 9]), 4) == Row([4], [5, 6, 7])
    assert cut(Row([1, 2], [5, 6]), 4) == Row([1, 2], [5, 6])


def test_unknown_target_modules_and_too_many_frozen_layers_are_refused(folder: Path, tmp_path: Path) -> None:
    for change in ({"target_modules": ("q_project",)}, {"frozen_layers": 2}):
        with pytest.raises(UserError, match="target_modules must be all-linear or among"):
            loop.train(folder, ROWS, TUNING.model_copy(update=change), tmp_path, lambda _: None)
