"""Tokenised rows kept between runs under a key of everything that decides them, and nothing else.

The key covers the rows' own columns, the tokenizer's files, the chat template in use, the mask options of the trainer
and the versions of the packages that render and tokenise. It covers neither paths nor limits: what is kept is the
tokens before `max_length`, so another limit finds the same entry. A template that asks for the date has the day in it.
Entries are folders written whole or not at all; those unused for a month go when a new one is written.
"""

import json
import os
import shutil
import tempfile
import time
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.context import StageContext
from training.identity import cache_root, canonical_json, default_cache_dir, file_sha256, sha256_text
from training.rows import ROWS_CACHE, shared_dataset
from training.tokens import token_columns, tokenise
from training.whole_folder import link_or_copy, settle, whole_folder
from training.world import barrier, gather

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

CACHE_VERSION = 2
UNUSED_DAYS = 30
PACKAGES = ("trl", "transformers", "tokenizers", "jinja2")
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
    *("tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "tekken.json"),
)
MASK_OPTIONS = {"pretrain": (), "sft": ("completion_only_loss", "assistant_only_loss"), "dpo": (), "reward_model": ()}


def token_key(
    kind: str, rows: list[dict[str, Any]], tokenizer: "PreTrainedTokenizerBase", files: Path, arguments: Any
) -> str:
    """Return the 64 hex digits that name the tokens of `rows`; `files` is the folder the tokenizer was loaded from."""
    template = str(tokenizer.chat_template)
    inputs = {
        "version": CACHE_VERSION,
        "kind": kind,
        "rows": sha256_text(canonical_json([token_columns(row, kind) for row in rows])),
        "tokenizer": tokenizer_files(files),
        "template": template,
        "day": date.today().isoformat() if "strftime_now" in template else None,
        "options": {name: getattr(arguments, name) for name in MASK_OPTIONS[kind]},
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    return sha256_text(canonical_json(inputs))


def tokenizer_files(folder: Path) -> dict[str, str]:
    """Hashes of the tokenizer's files by name; the chat template inside a config is left out, it is keyed by itself."""
    found = {name: folder / name for name in TOKENIZER_FILES if (folder / name).is_file()}
    hashes = {name: file_sha256(path, default_cache_dir()) for name, path in found.items()}
    if "tokenizer_config.json" in found:
        config = json.loads(found["tokenizer_config.json"].read_text(encoding="utf-8"))
        config.pop("chat_template", None)
        hashes["tokenizer_config.json"] = sha256_text(json.dumps(config, sort_keys=True))
    return hashes


def tokenised_rows(
    rows: list[dict[str, Any]], context: StageContext, tokenizer: "PreTrainedTokenizerBase", arguments: Any
) -> "Dataset":
    """The tokens of a stage's rows before any limit, in row order, as files in the stage's folder.

    Every rank must call it. TRL's further caches (truncated, packed, reference log-probabilities) lie beside those
    files, so they belong to this stage alone and survive an interruption.
    """
    from datasets import load_from_disk

    kind = context.planned.kind
    key = token_key(kind, rows, tokenizer, context.parent_model, arguments)
    own = context.folder / ROWS_CACHE / key[:32]
    if not gather(context.world, own.is_dir())[0]:
        entry = token_folder() / key[:32]
        if not gather(context.world, entry.is_dir())[0]:
            plain = shared_dataset([token_columns(row, kind) for row in rows], context)
            made = tokenise(kind, plain, tokenizer, arguments)
            if context.world.is_main:
                keep(made, entry)
        if context.world.is_main:
            os.utime(entry)
            _link_tree(entry, own)
        barrier(context.world)
    return load_from_disk(str(own))


def token_folder() -> Path:
    """Where tokenised rows are kept between runs."""
    return cache_root() / "tokens"


def keep(made: "Dataset", entry: Path) -> None:
    """Write a data set as a cache entry, whole or not at all, and remove entries that nobody used for a month."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - UNUSED_DAYS * 86400
    for other in entry.parent.iterdir():
        if other.stat().st_mtime < oldest:
            shutil.rmtree(other, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".writing-") as scratch:
        made.save_to_disk(str(Path(scratch) / "entry"))
        try:
            settle(Path(scratch) / "entry", entry)
        except OSError:  # another process wrote the same tokens first
            if not entry.is_dir():
                raise


def _link_tree(entry: Path, own: Path) -> None:
    """Give the stage the entry's files: hard links where the file system allows it, else copies."""
    with whole_folder(own) as folder:
        shutil.copytree(entry, folder, copy_function=link_or_copy)
