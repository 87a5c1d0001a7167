"""Merging by mergekit, against tensors worked out by hand, and what is refused before it starts."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.errors import UserError
from tests.stage_runs import planned, run_stage, stage, weights, write_pipeline
from tests.tiny_models import load, write_model
from training.config import ConfigError, load_pipeline
from training.record import read_record, verify_record
from training.surgery.merge import merge, merge_settings, require_alike, write_cast

needs_mergekit = pytest.mark.skipif(
    find_spec("mergekit") is None, reason="mergekit is not installed: pip install -c constraints.txt -e '.[merge]'"
)
NORM = "model.norm.weight"


def how(method: str, **fields: Any) -> SimpleNamespace:
    plain: dict[str, Any] = {"weights": None, "t": None, "density": None}
    return SimpleNamespace(**plain | {"method": method} | fields)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of one architecture; the first 4 numbers of their final norms are set by hand."""
    folder = tmp_path_factory.mktemp("merge")
    chosen = ([1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 1.5, 1.0], [2.0, 2.5, 1.0, -3.0])
    made = []
    for seed, numbers in enumerate(chosen):
        model = write_model(folder / str(seed), "llama", seed=seed, num_hidden_layers=1)
        tensors = load_file(model / "model.safetensors")
        tensors[NORM] = torch.tensor([*numbers, *[1.0] * 28])
        save_file(tensors, str(model / "model.safetensors"), metadata={"format": "pt"})
        made.append(model)
    return made


def merged(
    stage: SimpleNamespace, models: list[Path], folder: Path, base: Path | None = None
) -> dict[str, torch.Tensor]:
    facts = merge(merge_settings(stage, models, base), folder / "merged", seed=3)
    model = load(folder / "merged")
    assert facts["parameters"] == sum(p.numel() for p in model.parameters()) or model.config.tie_word_embeddings
    return dict(model.state_dict())


@needs_mergekit
def test_linear_is_the_weighted_mean(models: list[Path], tmp_path: Path) -> None:
    """(1 a + 3 b) / 4."""
    found = merged(how("linear", weights=[1.0, 3.0]), models[1:], tmp_path)
    assert found[NORM][:4].tolist() == pytest.approx([2.25, 1.875, 1.125, -2.0])
    one, other = (load_file(model / "model.safetensors") for model in models[1:])
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.allclose(found[name], (one[name] + 3 * other[name]) / 4, atol=1e-6)


@needs_mergekit
def test_slerp_goes_along_the_arc(models: list[Path], tmp_path: Path) -> None:
    """sin((1-t) w) / sin w of the one and sin(t w) / sin w of the other, w the angle between them (Shoemake 1985)."""
    found = merged(how("slerp", t=0.25), models[1:], tmp_path)
    one, other = (load_file(model / "model.safetensors") for model in models[1:])
    for name in ("model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"):
        a, b = one[name].double(), other[name].double()
        angle = torch.arccos((a / a.norm() * (b / b.norm())).sum())
        by_hand = (torch.sin(0.75 * angle) * a + torch.sin(0.25 * angle) * b) / torch.sin(angle)
        assert torch.allclose(found[name].double(), by_hand, atol=1e-5)


@needs_mergekit
def test_task_arithmetic_adds_weighted_differences_to_the_base(models: list[Path], tmp_path: Path) -> None:
    """Base 1 1 1 1; differences 2 -1 .5 0 and 1 1.5 0 -4; with weights 0.5 and 2."""
    found = merged(how("task_arithmetic", weights=[0.5, 2.0]), models[1:], tmp_path, models[0])
    assert found[NORM][:4].tolist() == pytest.approx([4.0, 3.5, 1.25, -7.0])


@needs_mergekit
def test_ties_keeps_the_greatest_and_the_sign_of_the_majority(models: list[Path], tmp_path: Path) -> None:
    """Of the 32 numbers of each difference the greatest 2 (density 1/16) stay: 2 and -1; 1.5 and -4.

    Place 0 has 2 alone, place 1 has -1 and 1.5, whose sum is positive: 1.5; place 2 nothing, place 3 -4. The base is 1.
    """
    found = merged(how("ties", density=0.0625), models[1:], tmp_path, models[0])
    assert found[NORM][:4].tolist() == pytest.approx([3.0, 2.5, 1.0, -3.0])


@needs_mergekit
def test_dare_drops_by_the_seed_and_scales_up_what_is_left(models: list[Path], tmp_path: Path) -> None:
    """One model, density 0.5: of the differences 2, -1, 0.5 some are gone; mergekit scales the rest to the sum of
    magnitudes 3.5 that they had (the paper divides by the density, the same in expectation).
    """
    settings = merge_settings(how("dare_ties", density=0.5), models[1:2], models[0])
    seen = []
    for place, seed in (("a", 3), ("b", 3), ("c", 4)):
        merge(settings, tmp_path / place, seed)
        seen.append(load_file(tmp_path / place / "model.safetensors")[NORM])
    whole, left = torch.tensor([2.0, -1.0, 0.5]), seen[0][:3] - 1
    kept = left != 0
    assert 0 < kept.sum() < 3
    assert torch.allclose(left[kept], whole[kept] * 3.5 / whole[kept].abs().sum(), atol=1e-5)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_settings_of_each_method_by_hand() -> None:
    models = [Path("/a"), Path("/b")]
    assert merge_settings(how("linear"), models, None) == {
        "merge_method": "linear",
        "models": [
            {"model": "/a", "parameters": {"weight": 1.0}},
            {"model": "/b", "parameters": {"weight": 1.0}},
        ],
        "dtype": "float32",
        "parameters": {"normalize": True},
    }
    ties = merge_settings(how("ties", density=0.2), models, Path("/base"))
    assert ties["base_model"] == "/base"
    assert ties["models"][1]["parameters"] == {"weight": 1.0, "density": 0.2}
    slerp = merge_settings(how("slerp"), models, None)
    assert (slerp["base_model"], slerp["parameters"]) == ("/a", {"t": 0.5})


def test_models_of_another_size_are_refused_by_what_differs(models: list[Path], tmp_path: Path) -> None:
    other = write_model(tmp_path / "other" / "model", "llama", num_hidden_layers=1, intermediate_size=64)
    with pytest.raises(UserError, match=r"stages\.m\.from: .* differ in intermediate_size"):
        require_alike([models[0], other], "m")


def recast(source: Path, folder: Path, dtype: torch.dtype) -> Path:
    """The same model in another precision."""
    shutil.copytree(source, folder)
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(source / "model.safetensors").items()}
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


@needs_mergekit
@pytest.mark.parametrize(
    ("second", "save_dtype", "written"),
    [
        (torch.bfloat16, None, torch.bfloat16),
        (torch.float32, None, torch.float32),
        (torch.bfloat16, "float32", torch.float32),
        (torch.float32, "bfloat16", torch.bfloat16),
    ],
)
def test_precision_is_that_of_the_models_or_the_one_asked_for(
    second: torch.dtype, save_dtype: str | None, written: torch.dtype, models: list[Path], tmp_path: Path
) -> None:
    parents = [recast(models[0], tmp_path / "one", torch.bfloat16), recast(models[1], tmp_path / "two", second)]
    merge(merge_settings(how("linear"), parents, None), tmp_path / "merged", 3, save_dtype)
    found = load_file(tmp_path / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {written}
    assert found[NORM][:4].tolist() == [2.0, 0.5, 1.25, 1.0]
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert (config["dtype"], "torch_dtype" in config) == (str(written).removeprefix("torch."), False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "one", "two"]


def test_a_selection_bias_keeps_its_precision(tmp_path: Path) -> None:
    """1 + 2**-12 has no bfloat16; the file that mergekit would have written stands in for it."""
    bias = "model.layers.0.mlp.gate.e_score_correction_bias"
    for name in ("merged-float32", "one", "two"):
        dtype = torch.float32 if name == "merged-float32" else torch.bfloat16
        tensors = {bias: torch.full((4,), 1 + 2**-12), NORM: torch.ones(4, dtype=dtype)}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"torch_dtype": "float32"}')
        save_file(tensors, str(tmp_path / name / "model.safetensors"))
    sources = [tmp_path / "one", tmp_path / "two"]
    for save_dtype in (None, "bfloat16"):
        write_cast(tmp_path / "merged-float32", tmp_path / "merged", sources, save_dtype)
        found = load_file(tmp_path / "merged" / "model.safetensors")
        assert found[bias].tolist() == [1 + 2**-12] * 4
        assert found[NORM].dtype == torch.bfloat16
        assert json.loads((tmp_path / "merged" / "config.json").read_text()) == {"dtype": "bfloat16"}


def block(**fields: Any) -> dict[str, Any]:
    return {"name": "merged", "kind": "merge", "from": ["one", "two"], **fields}


@needs_mergekit
def test_stage_merges_two_trained_models_and_has_both_as_parents(tmp_path: Path) -> None:
    from_base: dict[str, Any] = {"from": "base"}
    stages = [stage("sft", name, folder=tmp_path, seed=n, **from_base) for n, name in enumerate(("one", "two"))]
    config = write_pipeline(tmp_path, *stages, block(), stage("sft", "after", folder=tmp_path))
    for name in ("one", "two", "merged"):
        assert run_stage(config, name) == 0
    folder = planned(config, "merged").folder
    record = read_record(folder)
    assert record is not None
    assert verify_record(folder) == []
    assert [parent["stage"] for parent in record["parents"]] == ["one", "two"]
    ours, first, second = weights(folder), *(weights(planned(config, name).folder) for name in ("one", "two"))
    assert all(torch.allclose(ours[name], (first[name] + second[name]) / 2, atol=1e-6) for name in first)
    assert planned(config, "after").parents == ["merged"]


@needs_mergekit
def test_every_merged_model_has_the_same_template_unless_a_change_is_meant(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deeper: dict[str, Any] = {"kind": "upscale", "from": "base", "drop_layers": 1}
    other: dict[str, Any] = {"chat_template": "solar", "allow_template_change": True}
    stages = [{"name": "one", **deeper}, {"name": "two", **deeper, **other}]
    config = write_pipeline(tmp_path, *stages, block(), {**block(allow_template_change=True), "name": "meant"})
    for name in ("one", "two"):
        assert run_stage(config, name) == 0
    assert run_stage(config, "merged") == 2
    assert "its parent two had" in capfd.readouterr().err
    assert run_stage(config, "meant") == 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"from": ["one", "one"]}, "names a model twice"),
        ({"from": ["one", "zwei"]}, "no stage has this name"),
        ({"from": ["one", "two", "base"], "method": "slerp"}, "goes from one model to another; from names 3"),
        ({"weights": [1.0]}, "has 1 numbers for 2 models"),
        ({"weights": [1.0, -1.0]}, "add up to 0"),
        ({"method": "slerp", "weights": [1.0, 2.0]}, "is not for slerp; write t"),
        ({"t": 0.5}, "does nothing with method: linear; it is of slerp"),
        ({"method": "task_arithmetic", "density": 0.5}, "it is of ties, dare_ties"),
        ({"method": "ties", "from": ["one", "base"]}, "is both merged and subtracted"),
        ({"method": "ties", "base": "later"}, "that stage stands later"),
        ({"from": ["one"]}, "merged.from"),
    ],
)
def test_mistakes_of_a_merge(fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    stages = [stage("sft", name, folder=tmp_path) for name in ("one", "two")]
    config = write_pipeline(tmp_path, *stages, block(**fields), stage("sft", "later", folder=tmp_path))
    with pytest.raises(ConfigError) as caught:
        load_pipeline(config)
    assert told in str(caught.value)


def test_identity_follows_models_weights_and_base(tmp_path: Path) -> None:
    stages = [stage("sft", name, folder=tmp_path, seed=n) for n, name in enumerate(("one", "two"))]
    config = write_pipeline(tmp_path, *stages, block(method="ties"))
    before = planned(config, "merged")
    assert before.parents == ["one", "two", "base"]
    assert before.fingerprint != planned(config, "merged", "stages.merged.density=0.2").fingerprint
    assert before.fingerprint != planned(config, "merged", 'stages.merged.from=["two","one"]').fingerprint
    assert planned(config, "merged", "stages.merged.method=linear").parents == ["one", "two"]


def test_an_adapter_is_not_merged(tmp_path: Path) -> None:
    one = stage("sft", "one", folder=tmp_path, lora={"r": 2, "save": "adapter"})
    config = write_pipeline(tmp_path, one, stage("sft", "two", folder=tmp_path), block())
    with pytest.raises(ConfigError, match=r"one leaves an adapter; set stages\.one\.lora\.save=merged"):
        load_pipeline(config)
