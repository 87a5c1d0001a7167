"""A context that several rows share is computed once; log-probabilities and gradients stay the plain forward's."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MixtralConfig, Qwen2Config, Qwen3Config

import training.head
import training.shared_context
from training.head import score_trained_positions
from training.models import load_policy
from training.shared_context import PASS_TOKENS, can_share_contexts, like_lengths, padded, share_contexts

FIELDS = ("log_probs", "entropy")
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
FAMILIES = {
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    "gemma": GemmaConfig(**SIZES),
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
}


def group(prompts: int = 2, draws: int = 3, left: int = 4) -> dict[str, torch.Tensor]:
    """Rows as GRPO has them: `prompts` left-padded prompts of 12 tokens, `draws` completions of 3 to 8 tokens each."""
    generator = torch.Generator().manual_seed(5)
    heads = torch.randint(1, 60, (prompts, 12), generator=generator).repeat_interleave(draws, 0)
    tails = torch.randint(1, 60, (prompts * draws, 8), generator=generator)
    ids = torch.cat([torch.zeros((len(tails), left), dtype=torch.long), heads, tails], dim=1)
    mask = torch.ones_like(ids)
    mask[:, :left] = 0
    for row in range(len(ids)):
        mask[row, ids.size(1) - row % 6 :] = 0 if row % 6 else 1
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, : left + 12] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def score(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    model.zero_grad()
    output = model(**batch, fused_lm_head=True)
    weights = torch.linspace(-1.0, 1.0, output.log_probs.numel()).view_as(output.log_probs)
    (output.log_probs * weights).sum().backward()
    return [output.log_probs.detach(), output.entropy], [
        p.grad.clone() for p in model.parameters() if p.grad is not None
    ]


@pytest.mark.parametrize("pass_tokens", [64, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_context_gives_the_plain_forwards_numbers(
    family: str, pass_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.shared_context, "PASS_TOKENS", pass_tokens)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]).train()
    batch = group()
    shared = share_contexts(batch["input_ids"], batch["attention_mask"], batch["labels"])
    assert shared is not None
    assert (len(shared.parts) > 1) == (pass_tokens == 1)
    score_trained_positions(model, 1.0, FIELDS)
    shared_calls: list[int] = []
    real = training.head.trained_hidden
    monkeypatch.setattr(training.head, "trained_hidden", lambda *args: (shared_calls.append(1), real(*args))[1])
    assert can_share_contexts(model)
    fields, gradients = score(model, batch)
    assert shared_calls == [1]
    monkeypatch.setattr(training.head, "can_share_contexts", lambda model: False)
    plain_fields, plain_gradients = score(model, batch)
    assert shared_calls == [1]
    for mine, plain in zip(fields, plain_fields, strict=True):
        torch.testing.assert_close(mine, plain, atol=5e-6, rtol=1e-5)
    for mine, plain in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(mine, plain, atol=5e-6, rtol=1e-4)


def test_pairs_that_are_padded_on_the_right_share_their_prompt(tiny_model: Path) -> None:
    """DPO's layout: chosen rows, then rejected rows, prompts of unequal length, nothing on the left."""
    generator = torch.Generator().manual_seed(2)
    prompts = [torch.randint(3, 250, (length,), generator=generator) for length in (14, 9)]
    rows = [torch.cat([prompts[n % 2], torch.randint(3, 250, (3 + n,), generator=generator)]) for n in range(4)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    labels = ids.masked_fill(mask == 0, -100)
    for row in range(4):
        labels[row, : len(prompts[row % 2])] = -100
    shared = share_contexts(ids, mask, labels)
    assert shared is not None
    assert shared.context_ids_CP.shape == (2, 14)
    (part,) = shared.parts
    assert part.owner_R.tolist() == [0, 1, 0, 1]
    assert part.labels_RK[part.labels_RK != -100].tolist() == labels[labels != -100].tolist()


def test_rows_of_like_length_share_a_pass_where_that_saves_more_padding_than_it_costs() -> None:
    assert like_lengths([100, 10, 12, 98]) == [[1, 2], [3, 0]]
    assert like_lengths([40, 10, 12, 38]) == [[1, 2, 3, 0]]  # 58 tokens of padding
    assert like_lengths([7]) == [[0]]
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 400, (9,), generator=generator).tolist()

    def cost(parts: list[list[int]]) -> int:
        return padded(lengths, parts) + PASS_TOKENS * len(parts)

    ordered = sorted(range(9), key=lambda row: lengths[row])
    every = (
        [ordered[a:b] for a, b in itertools.pairwise([0, *cuts, 9])]
        for count in range(9)
        for cuts in itertools.combinations(range(1, 9), count)
    )
    assert cost(like_lengths(lengths)) == min(cost(parts) for parts in every)


def test_different_prompts_do_not_pay_and_keep_the_plain_forward() -> None:
    batch = group(prompts=6, draws=1)
    assert share_contexts(batch["input_ids"], batch["attention_mask"], batch["labels"]) is None


def test_a_row_without_a_trained_token_or_without_a_context_keeps_the_plain_forward() -> None:
    batch = group()
    empty = batch["labels"].clone()
    empty[0] = -100
    assert share_contexts(batch["input_ids"], batch["attention_mask"], empty) is None
    everything = batch["input_ids"].clone()
    assert share_contexts(batch["input_ids"], torch.ones_like(everything), everything) is None


def test_dropout_sliding_windows_and_activation_checkpointing_keep_the_plain_forward(tiny_model: Path) -> None:
    model = load_policy(tiny_model).train()
    assert can_share_contexts(model)
    window = copy.deepcopy(model)
    window.config.sliding_window = 8
    assert not can_share_contexts(window)
    model.config.attention_dropout = 0.1
    assert not can_share_contexts(model)
    assert can_share_contexts(model.eval())
    model.config.attention_dropout = 0.0
    model.train().gradient_checkpointing_enable()
    assert not can_share_contexts(model)
