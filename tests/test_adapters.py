"""LoRA and DoRA stages: what they leave equals the formula by hand; the next stage takes merged or adapter alike."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.stage_runs import learned, planned, run_stage, stage, weights, write_pipeline
from training.config import load_pipeline
from training.models import load_policy
from training.plan import plan_run
from training.record import read_record, verify_record
from training.run_stage import main

LAYER = "model.layers.1.self_attn.q_proj"
RANK, ALPHA = 4, 12
LORA = {"r": RANK, "alpha": ALPHA}


def pipelines(folder: Path, **lora: Any) -> dict[str, Path]:
    """The same SFT and DPO twice, once leaving a merged model and once an adapter."""
    made = {}
    for save in ("merged", "adapter"):
        place = folder / save
        place.mkdir(parents=True)
        sft = stage(
            "sft", folder=place, trainer={"max_steps": 3, "learning_rate": 1e-2}, lora=LORA | lora | {"save": save}
        )
        dpo = stage("dpo", folder=place)
        made[save] = write_pipeline(place, sft, dpo)
        assert run_stage(made[save], "sft") == 0
    return made


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return pipelines(tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def dora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return pipelines(tmp_path_factory.mktemp("dora"), dora=True)


def adapter(config: Path) -> dict[str, torch.Tensor]:
    """The tensors of the adapter at one layer, by the end of their names."""
    tensors = load_file(planned(config, "sft").folder / "model" / "adapter_model.safetensors")
    prefix = f"base_model.model.{LAYER}."
    return {name.removeprefix(prefix).removesuffix(".weight"): t for name, t in tensors.items() if LAYER in name}


def base_weight(tiny_model: Path) -> torch.Tensor:
    return load_file(tiny_model / "model.safetensors")[f"{LAYER}.weight"]


def test_lora_merged_weight_is_base_plus_scaled_product(lora: dict[str, Path], tiny_model: Path) -> None:
    """W + (alpha / r) B A, with A and B from the twin that kept its adapter; B, first zero, must have learned."""
    parts = adapter(lora["adapter"])
    assert parts.keys() == {"lora_A", "lora_B"}
    assert parts["lora_A"].shape == (RANK, 64)
    assert parts["lora_B"].abs().max() > 1e-4
    expected = base_weight(tiny_model) + ALPHA / RANK * parts["lora_B"] @ parts["lora_A"]
    merged = weights(planned(lora["merged"], "sft").folder)[f"{LAYER}.weight"]
    torch.testing.assert_close(merged, expected, atol=1e-6, rtol=1e-5)


def test_dora_merged_weight_has_the_learned_row_norms(dora: dict[str, Path], tiny_model: Path) -> None:
    """m (W + s B A) / |W + s B A| with the norm of each row (Liu et al. 2024, eq. 5)."""
    parts = adapter(dora["adapter"])
    assert parts.keys() == {"lora_A", "lora_B", "lora_magnitude_vector"}
    direction = base_weight(tiny_model) + ALPHA / RANK * parts["lora_B"] @ parts["lora_A"]
    magnitude = parts["lora_magnitude_vector"]
    assert not torch.allclose(magnitude, base_weight(tiny_model).norm(dim=1), atol=1e-5)
    expected = magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True)
    merged = weights(planned(dora["merged"], "sft").folder)[f"{LAYER}.weight"]
    torch.testing.assert_close(merged, expected, atol=1e-6, rtol=1e-5)


def test_lora_leaves_embeddings_and_norms_alone(lora: dict[str, Path], tiny_model: Path) -> None:
    merged, base = weights(planned(lora["merged"], "sft").folder), load_file(tiny_model / "model.safetensors")
    assert merged.keys() == base.keys()
    for name, tensor in base.items():
        assert torch.equal(merged[name], tensor) == ("_proj" not in name), name


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapter_artifact_is_small_verifies_and_loads_as_the_merged_model(
    kind: str, request: pytest.FixtureRequest
) -> None:
    configs = request.getfixturevalue(kind)
    folder = planned(configs["adapter"], "sft").folder
    model = folder / "model"
    record = read_record(folder)
    assert record is not None
    assert verify_record(folder) == []
    assert {"model/adapter_model.safetensors", "model/adapter_config.json", "model/base_model.json"} <= set(
        record["files"]
    )
    assert not (model / "model.safetensors").exists()
    assert (model / json.loads((model / "base_model.json").read_text())["base"] / "config.json").is_file()
    ids = torch.tensor([[5, 6, 7, 8]])
    merged = load_policy(planned(configs["merged"], "sft").folder / "model")
    torch.testing.assert_close(load_policy(model)(ids).logits, merged(ids).logits, atol=1e-5, rtol=1e-5)


def test_dpo_on_an_adapter_parent_trains_as_on_its_merged_twin(lora: dict[str, Path]) -> None:
    """Policy and reference start as the merged parent: the first loss is log 2, and what follows is the twin's."""
    for config in lora.values():
        assert run_stage(config, "dpo") == 0
    ours, theirs = (planned(lora[save], "dpo").folder for save in ("adapter", "merged"))
    assert learned(ours)[0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    for mine, other in zip(learned(ours), learned(theirs), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)
    for name, tensor in weights(theirs).items():
        torch.testing.assert_close(weights(ours)[name], tensor, atol=1e-6, rtol=0)
    assert not (ours / "merged_parent").exists()


def test_dpo_reference_is_the_parent_and_not_the_base(lora: dict[str, Path], tmp_path: Path) -> None:
    """The same DPO from the base sees other log-probabilities in its first step."""
    fresh = write_pipeline(tmp_path, stage("dpo", folder=tmp_path))
    assert run_stage(fresh, "dpo") == 0
    if not (planned(lora["adapter"], "dpo").folder / "record.json").exists():
        assert run_stage(lora["adapter"], "dpo") == 0
    from_base, from_adapter = (learned(planned(config, "dpo").folder)[0] for config in (fresh, lora["adapter"]))
    assert from_base["loss"] == pytest.approx(from_adapter["loss"], abs=1e-6)
    assert abs(from_base["logps/chosen"] - from_adapter["logps/chosen"]) > 1.0


def test_lora_dpo_and_grpo_on_an_adapter_parent_leave_adapters_on_adapters(tmp_path: Path) -> None:
    """Every stage keeps its adapter; the last one's chain of bases reaches back to the whole weights."""
    kept = LORA | {"save": "adapter"}
    config = write_pipeline(
        tmp_path,
        stage("sft", folder=tmp_path, lora=kept),
        stage("dpo", folder=tmp_path, lora=kept),
        stage("grpo", folder=tmp_path, lora=kept, trainer={"beta": 0.1}),
    )
    for name in ("sft", "dpo", "grpo"):
        assert run_stage(config, name) == 0
        assert verify_record(planned(config, name).folder) == []
    assert learned(planned(config, "dpo").folder)[0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert learned(planned(config, "grpo").folder)[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    ids = torch.tensor([[5, 6, 7, 8]])
    logits = [load_policy(planned(config, name).folder / "model")(ids).logits for name in ("sft", "dpo", "grpo")]
    assert not torch.allclose(logits[0], logits[1], atol=1e-4)
    assert not torch.allclose(logits[1], logits[2], atol=1e-4)


def test_save_dtype_of_a_merged_adapter_is_kept(tmp_path: Path) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path, lora=LORA, save_dtype="bfloat16"))
    assert run_stage(config, "sft") == 0
    assert {tensor.dtype for tensor in weights(planned(config, "sft").folder).values()} == {torch.bfloat16}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_quantize_without_a_gpu_is_refused_before_the_first_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantized = stage("sft", folder=tmp_path, lora=LORA | {"quantize": "nf4"})
    config = write_pipeline(tmp_path, quantized)
    for arguments in ([str(config), "--check"], [str(config), "--stage", "sft"]):
        assert main(arguments) == 2
        shown = capsys.readouterr().err
        assert "stages.sft.lora.quantize: nf4 needs a CUDA GPU" in shown
        assert "Traceback" not in shown
    assert plan_run(load_pipeline(config), tmp_path / "runs" / "demo")["sft"].state != "done"
