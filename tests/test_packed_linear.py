"""Packed weights: logits and greedy tokens of plain linear layers, in models of several kinds; nothing left behind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from tests.stage_runs import learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.test_signal_rows import trainer as grpo_trainer
from tests.tiny_models import logits, make_model
from training.estimate.workloads import PACKING_PAYS_FROM
from training.grpo import complete
from training.grpo_trainer import GrpoTrainer
from training.models import load_policy
from training.packed_linear import PAYS_FROM, packed_linears, why_not_packed
from training.rollout import Sampling, generate

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="weights are packed with AVX2 only"
)
PROMPTS = [[1, 20, 30], [1, 40, 50, 60, 70, 80], [1, 9]]
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def packed_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if "forward" in module.__dict__]


@pytest.mark.parametrize(
    ("model_type", "more"), [("llama", {}), ("qwen2", {}), ("qwen3", {}), ("gemma", {}), ("mixtral", EXPERTS)]
)
def test_logits_and_greedy_tokens_are_those_of_plain_layers(model_type: str, more: dict[str, Any]) -> None:
    """Of logits up to 10 within 2e-5; qwen2's layers have biases, mixtral's experts are no linear layers."""
    model = make_model(model_type, **more)
    plain, greedy = logits(model), Sampling(16, 0.0)
    with torch.no_grad(), packed_linears(model):
        assert "lm_head" in packed_layers(model)
        torch.testing.assert_close(logits(model), plain, atol=2e-5, rtol=2e-6)
        ours = generate(model, PROMPTS, 2, greedy, {2}, seed=0)
    assert not packed_layers(model)
    for row, completion in enumerate(ours):
        prompt = torch.tensor([PROMPTS[row // 2]])
        theirs = model.generate(prompt, max_new_tokens=16, do_sample=False, eos_token_id=2, pad_token_id=0)
        assert completion == theirs[0, prompt.size(1) :].tolist()


def test_a_row_has_the_same_bits_however_many_rows_share_the_step() -> None:
    torch.manual_seed(0)
    layer, rows = nn.Linear(576, 192), torch.randn(64, 576)
    with torch.no_grad(), packed_linears(layer):
        together = layer(rows)
        for count in (2, 3, 5, 8, 17, 32):
            assert torch.equal(layer(rows[:count, None])[:, 0], together[:count])


def test_the_weights_of_each_entry_are_used_and_an_error_leaves_nothing_behind() -> None:
    layer, rows = nn.Linear(8, 4), torch.randn(3, 8)
    for _ in range(2):
        with torch.no_grad(), packed_linears(layer):
            torch.testing.assert_close(layer(rows), rows @ layer.weight.T + layer.bias)
        with pytest.raises(ZeroDivisionError), packed_linears(layer):
            raise ZeroDivisionError
        assert "forward" not in layer.__dict__
        with torch.no_grad():
            layer.weight.mul_(-2)
    layer(rows).sum().backward()
    assert layer.weight.grad is not None


def test_layers_that_are_more_than_linear_keep_their_own_forward() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    hooked, plain = nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, output: output + 1)
    model = nn.Sequential(Doubled(4, 4), hooked, nn.Linear(4, 4).bfloat16(), plain)
    with packed_linears(model):
        assert packed_layers(model) == ["3"]


def test_adapters_stay_in_force() -> None:
    model: Any = get_peft_model(
        make_model("llama"), LoraConfig(r=4, init_lora_weights=False, target_modules=["q_proj", "down_proj"])
    )
    adapted, bare = logits(model), logits(make_model("llama"))
    assert (adapted - bare).abs().max() > 0.1
    with torch.no_grad(), packed_linears(model):
        torch.testing.assert_close(logits(model), adapted, atol=2e-5, rtol=2e-6)


def test_what_does_not_pay_or_is_not_float32_has_a_reason(tiny_model: Path, tmp_path: Path) -> None:
    made = grpo_trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model))
    assert f"{PAYS_FROM} tokens" in (why_not_packed(made) or "")
    made.args.max_completion_length = PAYS_FROM
    assert why_not_packed(made) is None
    assert PAYS_FROM == PACKING_PAYS_FROM
    made.by_vllm = True
    assert why_not_packed(made) == "vLLM draws"
    made.by_vllm, made.args.bf16 = False, True
    assert why_not_packed(made) == "in float32 only"
    made.args.bf16, made.model = False, get_peft_model(made.model, LoraConfig(r=2))
    assert "adapters" in (why_not_packed(made) or "")


def test_weights_are_laid_out_once_a_round(tiny_model: Path, tmp_path: Path) -> None:
    """They stand until the round is drawn and serve its drawing alone: in between the model is as it was."""
    made: Any = grpo_trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model))
    made.args.max_completion_length = PAYS_FROM
    made.on_rows_done = lambda rows: None
    first = complete(PROMPTS, 2, made, "0")
    packed = made.packed
    assert packed is not None
    assert complete(PROMPTS, 2, made, "0") == first
    assert made.packed is packed
    assert "lm_head" not in packed_layers(made.model)


def grpo(folder: Path, steps: int) -> Path:
    trainer = {"max_completion_length": PAYS_FROM, "max_steps": steps}
    return write_pipeline(folder, stage("grpo", folder=folder, trainer=trainer, parity={"every": 1}))


def test_a_stage_that_draws_with_packed_weights_is_trls_and_the_same_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sampler's log-probabilities are the trainer's within 1e-4, each step's proof says so; packed weights of the
    step before would fail it. They are gone before a round is scored, which may take memory of its own."""
    score, packed = GrpoTrainer._calculate_rewards, list[Any]()
    monkeypatch.setattr(
        GrpoTrainer, "_calculate_rewards", lambda self, *args: packed.append(self.packed) or score(self, *args)
    )
    config = grpo(tmp_path, 2)
    assert run_stage(config, "grpo") == 0
    assert "weights packed for rollouts" in capsys.readouterr().out
    assert packed == [None, None]
    assert run_stage(config, "grpo", "--run-dir", str(tmp_path / "again")) == 0
    first = planned(config, "grpo")
    (again,) = (tmp_path / "again").glob(f"*-grpo-{first.fingerprint[:8]}")
    assert learned(again) == learned(first.folder)
    assert set(json.loads((again / "record.json").read_text())["environment"]["packed_for"]) <= {"few_rows", "oneDNN"}
    assert max(row["parity/max_abs_logp_diff"] for row in metrics(first.folder)) < 1e-4
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(first.folder).items())
