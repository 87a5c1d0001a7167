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


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("bf16", [False, True])
def test_tile_gives_the_bits_of_the_graph_that_pytorch_would_build(temperature: float, bf16: bool) -> None:
    """One tensor of [N, V] in place of four; 70 rows are not a multiple of those done at once."""
    generator = torch.Generator().manual_seed(5)
    hidden_NH, weight_VH = torch.randn(70, 16, generator=generator), torch.randn(300, 16, generator=generator)
    labels_N, wanted_N = torch.randint(0, 300, (70,), generator=generator), torch.randn(70, generator=generator)

    def plain(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits_NV = torch.nn.functional.linear(hidden, weight).float() / temperature
        normaliser_N = logits_NV.logsumexp(-1)
        entropy_N = normaliser_N - ((logits_NV - normaliser_N[:, None]).exp() * logits_NV).sum(-1)
        return logits_NV.gather(-1, labels_N[:, None])[:, 0] - normaliser_N, entropy_N

    def tile(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fields = training.head._score_tile(hidden, weight, None, labels_N, temperature, ("log_probs", "entropy"))
        return fields["log_probs"], fields["entropy"]

    results = []
    for score in (plain, tile):
        leaves = hidden_NH.clone().requires_grad_(), weight_VH.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            log_probs_N, entropy_N = score(*leaves)
        log_probs_N.backward(wanted_N)
        results.append((log_probs_N, entropy_N, *(leaf.grad for leaf in leaves)))
    for expected, found in zip(*results, strict=True):
        assert expected is not None
        assert found is not None
        assert torch.equal(expected, found)


def test_tile_that_has_become_its_gradient_refuses_a_second_backward_pass() -> None:
    hidden_NH = torch.randn(4, 8).requires_grad_()
    fields = training.head._score_tile(hidden_NH, torch.randn(30, 8), None, torch.arange(4), 1.0, ("log_probs",))
    fields["log_probs"].sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        fields["log_probs"].sum().backward()


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
