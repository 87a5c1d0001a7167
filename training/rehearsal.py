"""Stand-ins for a rehearsal: a tiny random model of the pipeline's architecture, and rows for hub data.

`python -m training.rehearsal CONFIG --into FOLDER` writes `model/`, `data/` and `stand_ins.json`, which says what each
stands for. No network is used: what the local caches hold is taken from there, the rest is made up and said so.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.home import from_home
from data.sources import load_rows, rename_columns
from training.config import DataBlock, Pipeline, load_pipeline
from training.rehearsal_rows import made_up_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STAND_INS_NAME = "stand_ins.json"
CACHED_ROWS = 64
"""Rows taken of hub data that the local cache holds."""
LAYERS = 2
_SIZES: dict[str, int] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "head_dim": 16,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 64,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 0,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "sliding_window": 32,
}
"""What a shrunk config has in place of these sizes, where the original has them at all."""
_NOT_ARCHITECTURE = {
    *("architectures", "auto_map", "quantization_config", "torch_dtype", "dtype", "transformers_version"),
    *("_name_or_path", "bos_token_id", "eos_token_id", "pad_token_id"),
    *("qk_head_dim", "max_window_layers", "no_rope_layers"),  # they follow from sizes
}


def shrunk_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return a model's config with the same architecture and tiny sizes: 2 layers, hidden size 64, 4 heads.

    Kept: what decides which code runs (kind of attention, grouped heads, experts, latent attention, normalisation,
    rotary scaling). Layers of two kinds are both represented. A multimodal config gives its text model.
    """
    config = {key: value for key, value in config.get("text_config", config).items() if key not in _NOT_ARCHITECTURE}
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if groups is not None:
        config["num_key_value_heads"] = 4 if groups == heads else 1 if groups == 1 else 2
    layers = config.get("num_hidden_layers", LAYERS)
    chosen = _two_layers(config.get("layer_types") or [None] * layers)
    for key, value in config.items():
        if isinstance(value, list) and len(value) == layers and layers > LAYERS:
            config[key] = [value[place] for place in chosen]
        elif key in _SIZES and value:
            config[key] = _SIZES[key]
        elif key in ("rope_scaling", "rope_parameters") and isinstance(value, dict):
            config[key] = _short_rotary(value)
    if "qk_rope_head_dim" in config:  # latent attention: the rotary part's size is the config's head_dim
        config["head_dim"] = config["qk_rope_head_dim"]
    return config | {"num_hidden_layers": LAYERS, "mlp_only_layers": []}


def _two_layers(kinds: list[Any]) -> tuple[int, int]:
    """The first layer, and the first of another kind where there is one."""
    other = next((place for place, kind in enumerate(kinds) if kind != kinds[0]), 1)
    return 0, other


def _short_rotary(rotary: dict[str, Any]) -> dict[str, Any]:
    """Rotary settings with their factors per dimension cut to half of the small head."""
    half = _SIZES["head_dim"] // 2
    short: dict[str, Any] = {}
    for key, value in rotary.items():
        if isinstance(value, dict):
            short[key] = _short_rotary(value)
        else:
            short[key] = value[:half] if isinstance(value, list) else value
    return short


def make_model(model: str, chat_template: str | None, folder: Path) -> dict[str, Any]:
    """Write the tiny random model into `folder` and return what it stands for, and what could not be had."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    config, missing = _config_of(model)
    tokenizer, tokenizer_missing = _tokenizer_of(model, chat_template)
    small = shrunk_config(config)
    kind = small.pop("model_type")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    settings = small | ids | {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings), dtype=torch.float32)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {
        "architecture": kind,
        "parameters": sum(weight.numel() for weight in made.parameters()),
        "real_tokenizer": tokenizer_missing is None,
        "missing": [text for text in (missing, tokenizer_missing) if text is not None],
    }


def _config_of(model: str) -> tuple[dict[str, Any], str | None]:
    """The model's config; where it is not known here, the tiny Llama's, and what is missing."""
    from training.bundled import materialise
    from training.estimate.known_models import find_config

    if model.startswith("bundled:"):
        return json.loads((materialise(model.removeprefix("bundled:")) / "config.json").read_text()), None
    try:
        return find_config(model), None
    except UserError:
        config = json.loads((materialise("tiny-random") / "config.json").read_text())
        return config, f"the architecture of {model} (its config.json is not in the local cache): a Llama stands in"


def _tokenizer_of(model: str, chat_template: str | None) -> tuple["PreTrainedTokenizerBase", str | None]:
    """The model's tokenizer from its folder or the local cache; else the bytes of the tiny one, and what is missing."""
    from training.bundled import materialise
    from training.models import load_tokenizer

    folder = _tokenizer_folder(model)
    if folder is not None:
        return load_tokenizer(folder, chat_template), None
    stands_in = "a byte-level tokenizer stands in"
    what = f"the tokenizer of {model} (not in the local cache): {stands_in}"
    if chat_template is None:
        what = f"the tokenizer and chat template of {model} (not in the local cache): {stands_in}, with ChatML"
    return load_tokenizer(materialise("tiny-random"), chat_template), what


def _tokenizer_folder(model: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from training.bundled import materialise

    if model.startswith("bundled:"):
        return materialise(model.removeprefix("bundled:"))
    folder = from_home(model)
    if folder.is_dir():
        return folder
    name, _, revision = model.partition("@")
    try:
        cached = Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return cached if (cached / "tokenizer_config.json").is_file() else None


def make_data(pipeline: Pipeline, folder: Path) -> dict[str, dict[str, Any]]:
    """Write rows for every hub data block into `folder`; returns per owner (stage or suite) what its block then says.

    Rows that the local cache holds are real and bear our column names; made-up ones have the columns that the block
    declares, where we know how to make these up.
    """
    made = {}
    for owner, kind, block in hub_blocks(pipeline):
        declared: dict[str, str] = {str(ours): theirs for ours, theirs in block.columns.items()}
        columns: dict[str, str] = {}
        rows, shape = _cached_rows(block, declared), block.format
        real = rows is not None
        if rows is None:
            rows, columns, shape = made_up_rows(kind, declared, block.format)
        path = folder / f"{owner}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows))
        made[owner] = {"path": str(path), "hub": block.hub, "real": real, "columns": columns, "format": shape}
    return made


def hub_blocks(pipeline: Pipeline) -> list[tuple[str, str, DataBlock]]:
    """Return (owner, kind of rows, block) of every block with hub data; a suite's kind is "suite", a source of a
    mixture is called "STAGE.mix.NUMBER".
    """
    blocks = [(name, "suite", suite.data) for name, suite in pipeline.suites.items()]
    for stage in (each for each in pipeline.stages if hasattr(each, "data")):
        blocks.append((stage.name, stage.kind, stage.data))
        blocks += [(f"{stage.name}.mix.{n}", stage.kind, part) for n, part in enumerate(stage.data.mix or [])]
    return [(owner, kind, block) for owner, kind, block in blocks if block.hub is not None]


def _cached_rows(block: DataBlock, columns: dict[str, str]) -> list[dict[str, Any]] | None:
    """The first rows of hub data in the local cache under our column names, or None; a wrong column is a UserError."""
    assert block.hub is not None
    try:
        first = {"columns": {}, "split": f"{block.split}[:{CACHED_ROWS}]", "streaming": False}
        loaded = load_rows(block.model_copy(update=first), seed=0)
    except UserError:
        return None
    return rename_columns(loaded.rows, columns, block.hub)


def main(argv: list[str]) -> int:
    """Check a pipeline at its full sizes and make its stand-ins; returns the exit code."""
    from training.run_stage import quiet_libraries
    from training.stages import check_all

    quiet_libraries()
    parser = argparse.ArgumentParser(prog="python -m training.rehearsal", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY.PATH=VALUE")
    arguments = parser.parse_args(argv)
    try:
        pipeline = load_pipeline(arguments.config, arguments.overrides)
        check_all(pipeline)
        facts = {
            "model": make_model(pipeline.model, pipeline.chat_template, arguments.into / "model"),
            "data": make_data(pipeline, arguments.into / "data"),
        }
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (arguments.into / STAND_INS_NAME).write_text(json.dumps(facts, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
