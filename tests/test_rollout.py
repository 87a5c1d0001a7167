"""Rollouts: greedy tokens equal transformers' generate, sampling follows the distribution, rows are independent."""

from pathlib import Path

import torch

from training.models import load_policy
from training.rollout import Sampling, draw_tokens, generate, shared_prefix

PROMPTS = [[1, 20, 30], [1, 40, 50, 60, 70, 80], [1, 9], [1, 100, 101, 102, 103]]
EOS = {2}


def test_greedy_equals_transformers_generate(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    ours = generate(model, PROMPTS, 1, Sampling(12, 0.0), EOS, seed=0)
    for prompt, completion in zip(PROMPTS, ours, strict=True):
        theirs = model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        assert completion == theirs[0, len(prompt) :].tolist()


def test_draws_do_not_depend_on_which_rows_share_the_batch(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    together = generate(model, PROMPTS, 4, Sampling(16), EOS, seed=5, batch_size=64)
    apart = generate(model, PROMPTS, 4, Sampling(16), EOS, seed=5, batch_size=4)
    assert together == apart
    assert generate(model, PROMPTS, 4, Sampling(16), EOS, seed=6) != together


def test_completions_end_at_eos_or_at_the_limit(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    frequent = set(range(120))  # random weights end within a few tokens when half of all tokens end
    for completion in generate(model, PROMPTS, 8, Sampling(24), frequent, seed=1):
        assert completion[-1] in frequent or len(completion) == 24
        assert not frequent & set(completion[:-1])


def test_training_mode_is_put_back(tiny_model: Path) -> None:
    model = load_policy(tiny_model).train()
    generate(model, PROMPTS[:1], 1, Sampling(2), EOS, seed=0)
    assert model.training


def test_drawn_tokens_follow_the_distribution() -> None:
    """Chi-square with 4 degrees of freedom over 20,000 draws: 23.5 is exceeded with probability 1e-4."""
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0, 0.5])
    rows = 20_000
    uniforms = torch.rand(rows, generator=torch.Generator().manual_seed(0))
    tokens = draw_tokens(logits.expand(rows, -1), Sampling(1, temperature=0.8), uniforms)
    expected = torch.softmax(logits / 0.8, -1) * rows
    observed = torch.bincount(tokens, minlength=5).float()
    assert ((observed - expected) ** 2 / expected).sum() < 23.5


def test_top_p_keeps_the_smallest_nucleus() -> None:
    """Probabilities 0.5, 0.3, 0.15, 0.05: top_p 0.7 keeps the first two, 0.5 the first alone."""
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    uniforms = torch.linspace(0, 0.9999, 1000)
    two = draw_tokens(logits.expand(1000, -1), Sampling(1, top_p=0.7), uniforms)
    assert set(two.tolist()) == {1, 3}
    one = draw_tokens(logits.expand(1000, -1), Sampling(1, top_p=0.5), uniforms)
    assert set(one.tolist()) == {1}


def test_shared_prefix_leaves_a_token_of_every_prompt() -> None:
    assert shared_prefix([[1, 2, 3, 4], [1, 2, 3, 9], [1, 2, 7]]) == 2
    assert shared_prefix([[1, 2], [1, 2]]) == 1
    assert shared_prefix([[1, 2], [1, 2, 3]]) == 1
    assert shared_prefix([[5], [6]]) == 0
    assert shared_prefix([[1, 2, 3]]) == 0


def test_greedy_is_the_same_with_a_shared_prefix_as_alone(tiny_model: Path) -> None:
    model = load_policy(tiny_model)
    head = [1, 50, 60, 70, 80, 90]
    prompts = [[*head, 20], [*head, 30, 40, 41], [*head, 20, 21]]
    together = generate(model, prompts, 1, Sampling(12, 0.0), EOS, seed=0)
    assert together == [generate(model, [prompt], 1, Sampling(12, 0.0), EOS, seed=0)[0] for prompt in prompts]
