"""Loads of experts and their balance: counted once for each token, moved by the sign rule, kept over a resume."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.stage_runs import learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.test_resume import dies_at_step
from tests.tiny_models import add_tokenizer, load, logits, make_model, write_model
from training.config import ConfigError, load_pipeline
from training.experts import BIAS, ExpertLoads, KeepsExpertBias, load_metrics, moved_bias
from training.masters import kept_buffers
from training.world import World

ALONE = World(0, 0, 1)
ROUTED = {
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "num_hidden_layers": 3,
    "num_mtp_layers": 0,
}
UPCYCLE = {"name": "experts", "kind": "upcycle", "experts": 4, "dense_layers": 1, "expert_noise": 0.3}
BIASES = "model.layers.1.mlp.gate.e_score_correction_bias"


def test_bias_moves_against_the_load_by_hand() -> None:
    """Loads 6, 1, 3, 2 with mean 3: the first is over it, the third on it, the others below."""
    moved = moved_bias(torch.tensor([0.5, 0.0, 0.1, -0.2]), torch.tensor([6.0, 1.0, 3.0, 2.0]), 0.001)
    assert moved.tolist() == pytest.approx([0.499, 0.001, 0.1, -0.199])


def test_bias_in_bfloat16_would_stall_and_ours_does_not() -> None:
    """Half of the distance between 0.5 and the next bfloat16 is 0.00195: += 0.001 would be lost there."""
    bias = torch.full((2,), 0.5)
    for _ in range(100):
        bias = moved_bias(bias, torch.tensor([1.0, 3.0]), 0.001)
    assert bias.tolist() == pytest.approx([0.6, 0.4], abs=1e-5)


def test_figures_of_loads_by_hand() -> None:
    found = load_metrics(torch.tensor([4.0, 4.0, 0.0, 0.0]))
    assert found == pytest.approx({"max_violation": 1.0, "min_load": 0.0, "entropy": 0.5, "dead_experts": 2.0})
    even = load_metrics(torch.tensor([3.0, 3.0, 3.0]))
    assert even == pytest.approx({"max_violation": 0.0, "min_load": 1.0, "entropy": 1.0, "dead_experts": 0.0})


def chosen_by_hand(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Tokens by expert of the first layer with experts, from its router's input and weights."""
    gate = next(layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate"))
    seen: list[torch.Tensor] = []
    handle = gate.register_forward_pre_hook(lambda module, args: seen.append(args[0].reshape(-1, args[0].shape[-1])))
    with torch.no_grad():
        model(ids, attention_mask=mask)
    handle.remove()
    scores = (seen[0] @ gate.weight.T).sigmoid() + gate.e_score_correction_bias
    best = scores.argsort(-1, descending=True)[:, :2][mask.flatten().bool()]
    return torch.tensor([(best == expert).sum() for expert in range(4)], dtype=torch.float64)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_loads_count_each_token_once_and_no_padding(checkpointing: bool) -> None:
    model = make_model("glm4_moe", **ROUTED)
    ids = torch.randint(3, 259, (3, 10), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    expected = chosen_by_hand(model, ids, mask)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    loads = ExpertLoads(model)
    assert list(loads.routers) == ["layer_1", "layer_2"]
    for _ in range(2):  # two micro-batches
        model(ids, attention_mask=mask, labels=ids, use_cache=False).loss.backward()
    found = loads.take(ALONE)
    assert torch.equal(found["layer_1"], 2 * expected)
    assert found["layer_2"].sum() == 2 * 2 * mask.sum()
    model.eval()
    model(ids)
    assert loads.take(ALONE)["layer_1"].sum() == 0


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "deepseek_v3"])
def test_experts_of_other_architectures_are_counted(model_type: str) -> None:
    latent = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
    latent |= {"n_group": 1, "topk_group": 1, "head_dim": 4, "num_key_value_heads": 4}
    more = {"num_experts": 4} if model_type == "qwen3_moe" else latent if model_type == "deepseek_v3" else {}
    changes = {k: v for k, v in ROUTED.items() if k != "num_mtp_layers"}
    model = make_model(model_type, **(changes | more)).train()
    loads = ExpertLoads(model)
    ids = torch.randint(3, 259, (2, 8), generator=torch.Generator().manual_seed(1))
    model(ids)
    assert [count.sum().item() for count in loads.take(ALONE).values()] == [32.0] * len(loads.routers)
    assert len(loads.routers) == (2 if model_type == "deepseek_v3" else 3)


def balanced(folder: Path, **fields: Any) -> Path:
    """An upcycled tiny model and seven steps of SFT; the upcycling has run."""
    trainer = {"max_steps": 7, "gradient_checkpointing": True}
    sft = stage("sft", rows=20, folder=folder, **{"trainer": trainer, "expert_balance": "bias", **fields})
    config = write_pipeline(folder, UPCYCLE, sft)
    assert run_stage(config, "experts") == 0
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = balanced(tmp_path_factory.mktemp("experts"), bias_update_speed=0.01, save_dtype="bfloat16")
    assert run_stage(config, "sft") == 0
    return config


def test_trained_bias_is_the_sum_of_seven_steps_and_saved_in_float32(trained: Path) -> None:
    folder = planned(trained, "sft").folder
    saved = weights(folder)
    bias = saved[BIASES]
    assert bias.dtype == torch.float32
    assert {tensor.dtype for name, tensor in saved.items() if not name.endswith(BIAS)} == {torch.bfloat16}
    steps = bias / 0.01
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert 0 < steps.abs().max() <= 7.001
    rows = metrics(folder)
    assert all(row["experts/layer_1/max_violation"] >= 0 for row in rows)
    assert all(0 <= row["experts/layer_1/entropy"] <= 1 for row in rows)
    assert "experts/layer_0/entropy" not in rows[0]


def test_resumed_balance_ends_bit_identical(trained: Path, tmp_path: Path) -> None:
    expected = planned(trained, "sft").folder
    checkpoints = ("--run-dir", str(tmp_path), "--set", "runtime.checkpoint_every=3")
    assert run_stage(trained, "experts", *checkpoints) == 0
    dies_at_step(5, trained, "sft", *checkpoints)
    folder = next(tmp_path.glob("*-sft-*"))
    kept = sorted((folder / "checkpoints").glob("*/expert_bias.safetensors"))
    assert load_file(kept[-1])["layer_1"].abs().max() > 0
    assert run_stage(trained, "sft", *checkpoints) == 0
    ours, theirs = weights(folder), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert learned(folder) == learned(expected)


def test_bias_leaves_the_loss_of_the_first_step_alone_and_off_moves_nothing(trained: Path, tmp_path: Path) -> None:
    config = balanced(tmp_path, expert_balance="off", save_dtype="bfloat16")
    assert run_stage(config, "sft", "--set", "stages.sft.trainer.max_steps=2") == 0
    folder = planned(config, "sft", "stages.sft.trainer.max_steps=2").folder
    assert metrics(folder)[0]["loss"] == metrics(planned(trained, "sft").folder)[0]["loss"]
    assert weights(folder)[BIASES].abs().max() == 0


def test_a_router_without_the_loss_or_the_bias_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = balanced(tmp_path, expert_balance="aux", trainer={"max_steps": 1, "router_aux_loss_coef": 0.01})
    assert run_stage(config, "sft") in (1, 2)
    assert "glm4_moe has no auxiliary loss" in capsys.readouterr().err
    mixtral = add_tokenizer(write_model(tmp_path / "mixtral", "mixtral", num_local_experts=4, num_experts_per_tok=2))
    for balance, told, model in (
        ("bias", "the router of mixtral has no selection bias; use aux", str(mixtral)),
        ("bias", "llama has no experts to balance", "bundled:tiny-random"),
    ):
        config = write_pipeline(tmp_path, stage("sft", folder=tmp_path, expert_balance=balance), model=model)
        assert run_stage(config, "sft") == 2
        assert told in capsys.readouterr().err


def test_auxiliary_loss_is_trl_s_where_the_architecture_has_one(tmp_path: Path) -> None:
    mixtral = add_tokenizer(write_model(tmp_path / "mixtral", "mixtral", num_local_experts=4, num_experts_per_tok=2))
    found = {}
    for balance in ("aux", "off"):
        folder = tmp_path / balance
        folder.mkdir()
        sft = stage("sft", folder=folder, expert_balance=balance, trainer={"max_steps": 1})
        config = write_pipeline(folder, sft, model=str(mixtral))
        assert run_stage(config, "sft") == 0
        found[balance] = metrics(planned(config, "sft").folder)[0]
    assert found["aux"]["aux_loss"] > 0
    assert "aux_loss" not in found["off"]
    assert found["aux"]["experts/layer_0/entropy"] == found["off"]["experts/layer_0/entropy"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"trainer": {"router_aux_loss_coef": 0.01}}, "are two ways of balancing; remove one"),
        ({"lora": {"r": 4}}, "remove lora"),
        ({"expert_balance": "off", "bias_update_speed": 0.1}, "does nothing without expert_balance: bias"),
        ({"expert_balance": "aux", "trainer": {"router_aux_loss_coef": 0.0}}, "has no weight with"),
    ],
)
def test_two_balances_at_once_are_refused(fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path, **{"expert_balance": "bias", **fields}))
    with pytest.raises(ConfigError) as caught:
        load_pipeline(config)
    assert told in str(caught.value)


def test_balance_not_asked_for_changes_no_fingerprint(tmp_path: Path) -> None:
    plain = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    before = planned(plain, "sft")
    assert "expert_balance" not in before.identity["experiment"]
    assert "bias_update_speed" not in before.identity["experiment"]
    with_bias = planned(plain, "sft", "stages.sft.expert_balance=bias")
    assert with_bias.fingerprint != before.fingerprint
    assert planned(plain, "sft", "stages.sft.expert_balance=off").fingerprint != before.fingerprint


FINE = 1 + 2**-12
"""A bias that has no bfloat16."""


def with_fine_biases(folder: Path) -> Path:
    """A model of two layers with experts whose selection biases an engine in bf16 would round."""
    model = make_model("glm4_moe", **ROUTED)
    for layer in model.model.layers[1:]:
        layer.mlp.gate.e_score_correction_bias.copy_(torch.tensor([FINE, 0.0, -FINE, 0.5]))
    model.save_pretrained(folder)
    return add_tokenizer(folder)


def test_biases_that_an_engine_has_rounded_are_those_of_the_parent_again(tmp_path: Path) -> None:
    folder = with_fine_biases(tmp_path / "parent")
    policy, reference = load(folder).bfloat16(), load(folder).bfloat16()
    trainer = SimpleNamespace(model=policy, ref_model=reference)
    keeps: Any = KeepsExpertBias(trainer, folder)
    keeps.on_train_begin(None, None, None)
    for model in (policy, reference):
        buffers = kept_buffers(model)
        assert [buffers[name].tolist() for name in (BIASES, BIASES.replace("1", "2"))] == [[FINE, 0.0, -FINE, 0.5]] * 2
        assert model.model.layers[1].mlp.gate.weight.dtype == torch.bfloat16
        assert logits(model).isfinite().all()


SUM = """
import os, sys
import torch
from training.experts import ExpertLoads
from training.world import World
rank = int(os.environ["RANK"])
router = torch.nn.Linear(2, 3)
loads = ExpertLoads(torch.nn.Module())
loads.routers = {"layer_0": router, "layer_1": router}
loads._counts = {"layer_0": torch.tensor([1, 2, rank])} | ({"layer_1": torch.tensor([0, 5, 0])} if rank else {})
found = loads.take(World(rank, rank, 2))
assert found["layer_0"].tolist() == [2.0, 4.0, 1.0], found
assert found["layer_1"].tolist() == [0.0, 5.0, 0.0], found
"""


@pytest.mark.slow
def test_loads_are_summed_over_ranks() -> None:
    """Rank 0 counted 1 2 0, rank 1 counted 1 2 1; only rank 1 had tokens in the other layer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    meeting = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        subprocess.Popen([sys.executable, "-c", SUM], env=meeting | {"RANK": rank, "WORLD_SIZE": "2"})
        for rank in ("0", "1")
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]
