"""The head that scores trained positions gives TRL's numbers: log-probabilities, entropy, top-1 and gradients."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

import training.head
from training.head import can_score_trained_positions, score_trained_positions, use_trained_positions_head
from training.models import load_policy

CPU = torch.device("cpu")
FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 250, (3, 20), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :9] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("tile", [512, 7])
def test_head_equals_trl_head_in_values_and_gradients(
    tiny_model: Path, temperature: float, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.head, "TILE_POSITIONS", tile)
    ours = load_policy(tiny_model)
    theirs = copy.deepcopy(ours)
    score_trained_positions(ours, temperature, FIELDS)
    add_fused_lm_head(theirs, temperature, outputs=FIELDS)
    results = []
    for model in (ours, theirs):
        output = model(**batch(), fused_lm_head=True)
        (
            output.log_probs * torch.linspace(0.1, 1.0, output.log_probs.numel()).view_as(output.log_probs)
        ).sum().backward()
        results.append((output, [p.grad for p in model.parameters()]))
    (mine, my_gradients), (trl, trl_gradients) = results
    for field in FIELDS:
        torch.testing.assert_close(getattr(mine, field).float(), getattr(trl, field).float(), atol=2e-6, rtol=1e-5)
    assert torch.equal(mine.label_mask, trl.label_mask)
    torch.testing.assert_close(mine.loss, trl.loss)
    for my_gradient, trl_gradient in zip(my_gradients, trl_gradients, strict=True):
        torch.testing.assert_close(my_gradient, trl_gradient, atol=2e-6, rtol=1e-4)


def test_head_without_the_flag_is_the_plain_forward(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    ids = batch()["input_ids"]
    expected = model(input_ids=ids).logits
    score_trained_positions(model)
    assert torch.equal(model(input_ids=ids).logits, expected)


def test_head_with_no_trained_position_gives_a_zero_that_can_be_differentiated(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    score_trained_positions(model, outputs=FIELDS)
    inputs = batch()
    inputs["labels"] = torch.full_like(inputs["labels"], -100)
    output = model(**inputs, fused_lm_head=True)
    output.log_probs.sum().backward()
    assert output.log_probs.abs().sum() == 0


def test_models_with_scaled_logits_keep_trl_head(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    assert can_score_trained_positions(model, CPU)
    model.config.final_logit_softcapping = 30.0
    assert not can_score_trained_positions(model, CPU)


@pytest.mark.parametrize(("device", "ours"), [("cpu", True), ("cuda:0", False)])
def test_head_is_chosen_by_the_device_that_trains_not_by_where_weights_wait(
    tiny_model: Path, device: str, ours: bool
) -> None:
    """DeepSpeed takes the weights to the GPU after the trainer is made."""
    model = load_policy(tiny_model)
    accelerator = SimpleNamespace(device=torch.device(device))
    args = SimpleNamespace(bf16=False, fp16=False)
    use_trained_positions_head(SimpleNamespace(model=model, accelerator=accelerator, args=args), "sft")
    assert ("forward" in vars(model)) == ours
