"""Every loss of TRL's by its name: ours gives TRL's loss and gradient, and the list of names is TRL's."""

import copy
import inspect
import re
from pathlib import Path

import pytest
import torch
from trl import GRPOTrainer

from tests.test_signal_rows import micro_batch, trainer
from training.config.loss_checks import ONE_OF, SUMMED_OVER_TOKENS
from training.grpo_trainer import GrpoTrainer
from training.models import load_policy

OF_SEQUENCES = [("grpo", "sequence"), ("luspo", "sequence"), ("sapo", "sequence"), ("vespo", "token")]


@pytest.mark.parametrize(("loss_type", "level"), OF_SEQUENCES)
def test_loss_of_whole_sequences_and_its_gradient_equal_trl_s(
    tiny_model: Path, tmp_path: Path, loss_type: str, level: str
) -> None:
    """The losses of tokens are in tests/test_signal_rows.py. One completion is cut short by the padding of others."""
    policy = load_policy(tiny_model)
    results = []
    for kind in (GrpoTrainer, GRPOTrainer):
        settings = {"loss_type": loss_type, "importance_sampling_level": level}
        made = trainer(kind, tiny_model, tmp_path, copy.deepcopy(policy), **settings)
        made.current_gradient_accumulation_steps = 1
        made.micro_batch = batch = micro_batch([1.0, 0.0, -1.0, 0.5], old=True)
        loss = made._compute_loss(made.model, batch)
        loss.backward()
        results.append((loss.detach(), {name: p.grad for name, p in made.model.named_parameters()}))
    (mine, my_gradients), (trl, trl_gradients) = results
    assert mine.item() != 0.0
    torch.testing.assert_close(mine, trl, atol=1e-6, rtol=1e-5)
    for name, gradient in my_gradients.items():
        torch.testing.assert_close(gradient, trl_gradients[name], atol=1e-6, rtol=1e-4)


def test_names_of_losses_are_those_that_trl_computes() -> None:
    source = inspect.getsource(GRPOTrainer._compute_loss)
    tested = re.findall(r'loss_type (?:==|in) (\[[^\]]*\]|"\w+")', source)
    assert {name for text in tested for name in re.findall(r'"(\w+)"', text)} == set(ONE_OF["loss_type"])
    warned = re.search(
        r'importance_sampling_level == "sequence" and args.loss_type in \[(.*?)\]', inspect.getsource(GRPOTrainer)
    )
    assert warned is not None
    assert tuple(re.findall(r'"(\w+)"', warned.group(1))) == SUMMED_OVER_TOKENS
