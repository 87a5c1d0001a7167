"""Depth up-scaling: which layer stands where, what the stack computes, and what cannot be stacked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from data.errors import UserError
from tests.stage_runs import planned, run_stage, stage, write_pipeline
from tests.tiny_models import SIZES, load, logits, make_model, write_model
from training.config import ConfigError, load_pipeline
from training.record import read_record, verify_record
from training.surgery.configs import source_layer, upscaled_config
from training.surgery.tensors import INDEX, WeightReader
from training.surgery.upscale import upscale

UNIFORM = ["llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "olmo2", "granite", "starcoder2", "glm4"]


def test_solar_s_32_layers_less_8_make_48() -> None:
    """SOLAR: layers 0 to 23 of the first copy, then 8 to 31 of the second."""
    order = [source_layer(target, 32, 8) for target in range(48)]
    assert order == [*range(24), *range(8, 32)]


@pytest.mark.parametrize("tied", [True, False])
def test_stack_computes_what_its_two_halves_do_one_after_the_other(tied: bool, tmp_path: Path) -> None:
    """By hand: embeddings, layers 0 to 2 of one model, layers 1 to 3 of its copy, then norm and head, once."""
    source = write_model(tmp_path / "source", "llama", tie_word_embeddings=tied)
    facts = upscale(source, tmp_path / "stack", drop_layers=1)
    assert facts["layers"] == 6
    first, second = load(source), load(source)
    first.model.layers = first.model.layers[:3]
    first.model.norm = torch.nn.Identity()
    second.model.layers = second.model.layers[1:]
    ids = torch.randint(3, 259, (2, 12), generator=torch.Generator().manual_seed(1))
    for half in (first, second):
        half.config.num_hidden_layers = 3
    with torch.no_grad():
        middle = first.model(ids, use_cache=False).last_hidden_state
        expected = second(inputs_embeds=middle, use_cache=False).logits
    stacked = load(tmp_path / "stack")
    assert torch.equal(logits(stacked), expected)
    assert (stacked.lm_head.weight is stacked.model.embed_tokens.weight) is tied
    assert sum(p.numel() for p in stacked.parameters()) == facts["parameters"]


@pytest.mark.parametrize("model_type", UNIFORM)
def test_every_stackable_architecture_loads_whole_from_shards_and_generates_with_its_cache(
    model_type: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "source", model_type, shards="20KB")
    assert (source / INDEX).is_file()
    upscale(source, tmp_path / "stack", drop_layers=1, shard_bytes=30_000)
    assert len(list((tmp_path / "stack").glob("model-*-of-*.safetensors"))) > 2
    stacked = load(tmp_path / "stack")
    assert len(stacked.model.layers) == 6
    with WeightReader(source) as before, WeightReader(tmp_path / "stack") as after:
        for name in after.names:
            _, inside, rest = name.partition("model.layers.")
            layer, _, rest = rest.partition(".")
            origin = f"model.layers.{source_layer(int(layer), 4, 1)}.{rest}" if inside else name
            assert torch.equal(after.read(name), before.read(origin))
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        cached = stacked(ids[:, 9:], past_key_values=stacked(ids[:, :9], use_cache=True).past_key_values).logits
        assert torch.allclose(cached[:, -1], stacked(ids).logits[:, -1], atol=1e-4)


def test_written_dtype_is_the_one_asked_for(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", "llama")
    upscale(source, tmp_path / "stack", drop_layers=2, dtype="bfloat16")
    weights = load_file(tmp_path / "stack" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "stack" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "drop_layers", "told"),
    [
        ({"model_type": "llama"}, 4, "drop_layers: 4 of 4 layers leaves nothing to stack; use 1 to 3"),
        ({"model_type": "qwen3", "layer_types": ["full_attention", "sliding_attention"] * 2}, 1, "several kinds"),
        ({"model_type": "smollm3", "no_rope_layers": [1, 1, 1, 0]}, 1, "several kinds (no_rope_layers: 1, 0)"),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 2}, 1, "max_window_layers"),
        ({"model_type": "qwen3", "use_sliding_window": True, "num_hidden_layers": 32}, 1, "after the first 28"),
        ({"model_type": "gemma2"}, 1, "alternates"),
        ({"model_type": "mamba"}, 1, "models of type 'mamba' cannot be stacked; known are llama, mistral"),
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, 1, "quantised"),
    ],
)
def test_what_cannot_be_stacked_is_refused(changes: dict[str, object], drop_layers: int, told: str) -> None:
    with pytest.raises(UserError) as caught:
        upscaled_config({**SIZES, **changes}, drop_layers)
    assert told in str(caught.value)


def test_one_kind_of_layer_is_listed_for_every_layer_of_the_stack() -> None:
    made = upscaled_config({**SIZES, "model_type": "qwen3", "layer_types": ["full_attention"] * 4}, 1)
    assert made["layer_types"] == ["full_attention"] * 6


@pytest.mark.parametrize("window_layers", [{"max_window_layers": 4}, {}])
def test_layers_that_stacking_adds_have_no_sliding_window_where_none_had_one(window_layers: dict[str, int]) -> None:
    dense: dict[str, Any] = {**SIZES, "model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8}
    dense |= window_layers
    assert AutoConfig.for_model(**dense).layer_types == ["full_attention"] * 4
    assert AutoConfig.for_model(**upscaled_config(dense, 1)).layer_types == ["full_attention"] * 6


def test_stage_leaves_a_proved_model_that_is_trained_and_a_wrong_m_is_told_before(tmp_path: Path) -> None:
    deeper = {"name": "deeper", "kind": "upscale", "drop_layers": 1}
    config = write_pipeline(tmp_path, deeper | {"drop_layers": 2}, stage("sft", folder=tmp_path))
    with pytest.raises(ConfigError, match=r"stages\.deeper\.drop_layers = 2: 2 of 2 layers"):
        load_pipeline(config)
    config = write_pipeline(tmp_path, deeper, deeper | {"name": "again"}, stage("sft", folder=tmp_path))
    assert run_stage(config, "deeper") == 0
    folder = planned(config, "deeper").folder
    record = read_record(folder)
    assert record is not None
    assert verify_record(folder) == []
    assert record["metrics"]["layers"] == 2
    assert [parent["stage"] for parent in record["parents"]] == ["base"]
    assert record["template_sha256"]
    (folder / "record.json").unlink()  # killed before its record: the folder holds half a model
    (folder / "model" / "model.safetensors").write_bytes(b"cut")
    (folder / "model" / ".part-0.safetensors").write_bytes(b"cut")
    assert run_stage(config, "deeper") == 0
    again = read_record(folder)
    assert again is not None
    assert again["files"] == record["files"]
    assert run_stage(config, "again") == run_stage(config, "sft") == 0


def test_fingerprint_follows_drop_layers_and_not_the_stage_s_name(tmp_path: Path) -> None:
    model = write_model(tmp_path / "source", "llama")
    prints = {}
    for name, dropped in (("one", 1), ("two", 1), ("three", 2)):
        folder = tmp_path / name
        folder.mkdir()
        block = {"name": name, "kind": "upscale", "drop_layers": dropped}
        prints[name] = planned(write_pipeline(folder, block, model=str(model)), name).fingerprint
    assert prints["one"] == prints["two"] != prints["three"]


MEASURE = """
import re, sys
from pathlib import Path
from training.surgery.upscale import upscale
peak = []
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024
before = anonymous()
source, folder, shard = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
upscale(source, folder, 1, progress=lambda n: peak.append(anonymous()), shard_bytes=shard)
print(max(peak) - before)
"""


@pytest.mark.slow
def test_memory_stays_near_one_shard(tmp_path: Path) -> None:
    """A model of 53 MB through shards of 8 MB: what the process allocates is counted, not the mapped files."""
    source = write_model(tmp_path / "source", "llama", hidden_size=512, intermediate_size=1024, num_hidden_layers=8)
    written = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    assert written > 50e6
    command = [sys.executable, "-c", MEASURE, str(source), str(tmp_path / "stack"), "8000000"]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 27e6


def test_made_model_is_no_copy_of_another() -> None:
    """The fixture's layers differ, or the tests above would pass whatever stands where."""
    model = make_model("llama")
    firsts = [layer.mlp.gate_proj.weight[0, 0].item() for layer in model.model.layers]
    assert len(set(firsts)) == 4
