"""Stage 00-base: the model everything starts from, with the record that says what it is.

The folder's `model/` is a link to where the weights already lie (package cache, hub cache or the user's folder):
a 70B model is not copied. Its record holds the sha256 of every file, so `posttrain lineage` notices a change.
"""

from pathlib import Path
from typing import Any

from data.errors import UserError
from data.home import from_home
from training.bundled import materialise
from training.pins import Pins
from training.record import read_json

HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


def locate_model(model: str, pins: Pins) -> Path:
    """Return the local folder of `bundled:NAME`, a path, or a hub id at its pinned commit (downloaded if allowed)."""
    if model.startswith("bundled:"):
        return materialise(model.removeprefix("bundled:"))
    path = from_home(model)
    if path.is_dir():
        require_model_files(path, model, "give a folder in transformers format")
        return path.resolve()
    return _hub_snapshot(model, pins)


def require_model_files(folder: Path, model: str, fix: str) -> None:
    """Refuse a folder that lacks config, tokenizer or weights, as a half-fetched one does; `fix` says what to do."""
    if not (folder / "config.json").is_file():
        raise UserError(f"model: {model} has no config.json; {fix}")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(f"model: {model} has no tokenizer ({TOKENIZER_FILES[0]}) in {folder}; {fix}")
    named = _indexed_weights(folder)
    missing = sorted(file for file in named if not (folder / file).is_file())
    if missing:
        raise UserError(f"model: {model} lacks {len(missing)} of {len(named)} weight files, {missing[0]}; {fix}")
    if not any(file for pattern in WEIGHT_FILES for file in folder.glob(pattern)):
        raise UserError(f"model: {model} has no weights (model.safetensors) in {folder}; {fix}")


def _indexed_weights(folder: Path) -> set[str]:
    """The weight files that the index of what is loaded names; a repository may hold indices of other formats too."""
    safe = any(folder.glob("*.safetensors")) or not any(folder.glob("pytorch_model*.bin"))
    index = folder / ("model.safetensors.index.json" if safe else "pytorch_model.bin.index.json")
    if not index.is_file():
        return set()
    return set(read_json(index, "fetch the model's files anew").get("weight_map", {}).values())


def _hub_snapshot(model: str, pins: Pins) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name, commit, offline = model.partition("@")[0], pins.model(model), pins.offline
    try:
        folder = Path(
            snapshot_download(name, revision=commit, allow_patterns=HUB_FILES, local_files_only=offline)
        ).resolve()
    except RepositoryNotFoundError as error:
        raise UserError(f"model: {name} is neither a folder here nor a model on the hub ({error})") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        fetch = f"fetch it once with a network (hf download {name} --revision {commit})"
        offline_hint = f"it is not in the local cache and `offline: true` forbids downloading; {fetch}"
        hint = offline_hint if offline else str(error)
        raise UserError(f"model: {name}@{commit} cannot be loaded: {hint}") from error
    require_model_files(folder, f"{name}@{commit}", f"fetch all of it: hf download {name} --revision {commit}")
    return folder


def link_model(source: Path, folder: Path, name: str = "model") -> Path:
    """Make `<folder>/<name>` point at `source`; an earlier link to the same place is kept."""
    target = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink():
        target.symlink_to(source, target_is_directory=True)
    return target


def describe_base(folder: Path, chat_template: str | None) -> dict[str, Any]:
    """Template hash and special tokens of the base, for its record; fails where a chat model's needs are missing."""
    from training.models import load_tokenizer, special_tokens, template_sha256

    tokenizer = load_tokenizer(folder, chat_template)
    return {"template_sha256": template_sha256(tokenizer), "special_tokens": special_tokens(tokenizer)}
