"""Where a model's config comes from without network, and what is read from it."""

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from data.errors import UserError
from training.bundled import BUNDLED, materialise
from training.estimate.known_models import find_config
from training.estimate.published import KNOWN
from training.estimate.shape import Experts, Latent, shape_of


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one model: its branch main at commit aaa, an older commit bbb beside it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--acme--rocket"
    for commit, layers in (("aaa", 12), ("bbb", 6)):
        (folder / "snapshots" / commit).mkdir(parents=True)
        config = {"model_type": "llama", "num_hidden_layers": layers}
        (folder / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("aaa")
    return tmp_path


@pytest.mark.parametrize(("model", "layers"), [("acme/rocket", 12), ("acme/rocket@main", 12), ("acme/rocket@bbb", 6)])
def test_find_config_hub_id_in_the_cache_reads_its_revision(hub_cache: Path, model: str, layers: int) -> None:
    assert find_config(model)["num_hidden_layers"] == layers


@pytest.mark.parametrize("model", ["acme/rocket@ccc", "acme/unseen"])
def test_find_config_of_what_is_nowhere_names_the_fix(hub_cache: Path, model: str) -> None:
    with pytest.raises(UserError, match=rf"{model} is neither .* hf download acme/\w+ config.json"):
        find_config(model)


def test_find_config_cached_config_goes_before_the_published_one(hub_cache: Path) -> None:
    snapshot = hub_cache / "models--Qwen--Qwen3-8B" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "qwen3", "num_hidden_layers": 1}))
    assert find_config("Qwen/Qwen3-8B@abc")["num_hidden_layers"] == 1
    assert find_config("Qwen/Qwen3-8B")["num_hidden_layers"] == 36


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-70B", "llama-3-70b"),
        ("mistralai/Mistral-7B-Instruct-v0.1", "mistral-7b-v0.1"),
        ("google/gemma-2-9b-it@0123abc", "gemma-2-9b"),
        ("deepseek-ai/DeepSeek-R1-Zero", "deepseek-r1"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen2.5-7b"),
    ],
)
def test_find_config_published_models_are_found_by_hub_id(hub_cache: Path, model: str, key: str) -> None:
    assert find_config(model) == KNOWN[key]


def test_find_config_local_folder_reads_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gemma"}')
    assert find_config(str(tmp_path)) == {"model_type": "gemma"}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read as JSON"):
        find_config(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        find_config(str(tmp_path))


def test_find_config_unknown_bundled_model_names_those_there_are() -> None:
    with pytest.raises(UserError, match="choose one of smollm2-135m-instruct, tiny-random"):
        find_config("bundled:huge")


def test_find_config_bundled_model_equals_the_one_that_is_made() -> None:
    assert {name for name in BUNDLED if find_config(f"bundled:{name}")} == set(BUNDLED)
    made = AutoConfig.from_pretrained(materialise("tiny-random")).to_dict()
    assert shape_of(made) == shape_of(find_config("bundled:tiny-random"))


def test_shape_of_unknown_architecture_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"architecture 'rwkv9' is not known .* llama, mistral"):
        shape_of({"model_type": "rwkv9"})
    with pytest.raises(UserError, match=r"config\.json names no architecture"):
        shape_of({})


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 0), ("num_hidden_layers", "two"), ("vocab_size", None)])
def test_shape_of_a_config_without_its_sizes_is_refused(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{key} = {value!r} in its config.json: must be a whole number above 0"):
        shape_of({**KNOWN["deepseek-v3"], key: value})


def test_shape_of_deepseek_v3_has_latent_attention_and_58_sparse_layers() -> None:
    shape = shape_of(KNOWN["deepseek-v3"])
    assert shape.latent == Latent(1536, 512, plain_head_dim=128, rotary_head_dim=64, value_head_dim=128)
    assert shape.experts == Experts(
        58, 256, 8, intermediate=2048, shared_intermediate=2048, shared_gate=False, bias=False
    )
    assert shape.dense_layers == 3


@pytest.mark.parametrize(
    ("model", "window", "layers"),
    [("gemma-3-1b", 512, 22), ("gemma-2-2b", 4096, 13), ("mistral-7b-v0.1", 4096, 32), ("mistral-7b-v0.3", None, 0)],
)
def test_shape_of_sliding_window_covers_the_layers_that_slide(model: str, window: int | None, layers: int) -> None:
    """Gemma 3 has full attention in every sixth of 26 layers, Gemma 2 in every second; Mistral 0.3 slides nowhere."""
    shape = shape_of(KNOWN[model])
    assert (shape.sliding_window, shape.sliding_layers) == (window, layers)


def test_shape_of_layer_types_decide_over_the_pattern() -> None:
    config = KNOWN["gemma-3-1b"] | {"layer_types": ["sliding_attention"] * 25 + ["full_attention"]}
    assert shape_of(config).sliding_layers == 25


def test_shape_of_dense_layers_listed_by_index_are_not_sparse() -> None:
    config = KNOWN["qwen3-30b-a3b"] | {"mlp_only_layers": [0, 1], "decoder_sparse_step": 2}
    experts = shape_of(config).experts
    assert experts is not None
    assert experts.layers == 23  # every second of 48 layers is sparse; layer 1 is one of them and listed as dense
