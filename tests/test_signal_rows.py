"""Scoring only rows with signal, without padding, gives TRL's loss and gradient."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from training.grpo_trainer import GrpoTrainer
from training.models import load_policy, load_tokenizer
from training.signal_rows import rows_to_score


def trainer(kind: type[GRPOTrainer], folder: Path, scratch: Path, model: Any, **settings: Any) -> GRPOTrainer:
    arguments = GRPOConfig(
        output_dir=str(scratch),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=8,
        bf16=False,
        use_cpu=True,
        report_to=[],
        gradient_checkpointing=False,
        **settings,
    )
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "2 + 2"}]}] * 4)
    return kind(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=rows,
        processing_class=load_tokenizer(folder),
    )


def micro_batch(advantages: list[float], old: bool) -> dict[str, torch.Tensor]:
    """Four rows, prompts of 3 to 6 tokens padded on the left, completions of 2 to 8 padded on the right."""
    generator = torch.Generator().manual_seed(4)
    prompt_mask = (torch.arange(6)[None] >= torch.tensor([3, 0, 2, 3])[:, None]).long()
    completion_mask = (torch.arange(8)[None] < torch.tensor([5, 8, 3, 2])[:, None]).long()
    batch = {
        "prompt_ids": torch.randint(3, 250, (4, 6), generator=generator),
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(3, 250, (4, 8), generator=generator),
        "completion_mask": completion_mask,
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": completion_mask.sum(),
    }
    if old:
        batch["old_per_token_logps"] = -5.0 - torch.rand((4, 8), generator=generator)
    return batch


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo"])
@pytest.mark.parametrize("advantages", [[1.0, 0.0, -1.0, 0.0], [0.5, -0.5, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
@pytest.mark.parametrize("old", [False, True])
def test_loss_and_gradient_equal_trl(
    tiny_model: Path, tmp_path: Path, loss_type: str, advantages: list[float], old: bool
) -> None:
    policy = load_policy(tiny_model)
    results = []
    for kind in (GrpoTrainer, GRPOTrainer):
        made = trainer(kind, tiny_model, tmp_path, copy.deepcopy(policy), loss_type=loss_type)
        made.current_gradient_accumulation_steps = 1
        batch = micro_batch(advantages, old)
        made.micro_batch = batch
        loss = made._compute_loss(made.model, batch)
        loss.backward()
        results.append((loss.detach(), {name: p.grad for name, p in made.model.named_parameters()}))
    (mine, my_gradients), (trl, trl_gradients) = results
    torch.testing.assert_close(mine, trl, atol=1e-6, rtol=1e-5)
    for name, gradient in my_gradients.items():
        torch.testing.assert_close(gradient, trl_gradients[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"beta": 0.1}, {"top_entropy_quantile": 0.5}])
def test_rows_without_advantage_are_kept_where_they_contribute(
    tiny_model: Path, tmp_path: Path, settings: dict[str, float]
) -> None:
    from training.signal_rows import may_skip_silent_rows

    assert not may_skip_silent_rows(trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model), **settings))


def test_a_batch_without_signal_still_scores_its_shortest_row() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    assert rows_to_score(torch.zeros(3), mask, skip_silent=True).tolist() == [1]
    assert rows_to_score(torch.tensor([0.0, 0.3, -0.3]), mask, skip_silent=True).tolist() == [1, 2]
    assert rows_to_score(torch.zeros(3), mask, skip_silent=False).tolist() == [0, 1, 2]
