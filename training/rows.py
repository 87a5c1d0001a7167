"""Rows for a stage, from its data block to message lists, with every row accounted for."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.formats import convert
from data.limits import drop_long_prompts
from data.sources import Rows, load_rows
from training.config.data_blocks import PURPOSES
from training.context import StageContext
from training.identity import canonical_json
from training.plan import data_seed
from training.world import barrier

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase



def source_rows(
    stage: Any,
    seed: int,
    system: str | None,
    stage_folder: Callable[[str], Path] | None = None,
    pin: Callable[[str], str] | None = None,
) -> tuple[Rows, list[dict[str, Any]]]:
    """Return a stage's rows in the shape its kind works on, with their account, and the bare rows; a mistake names the
    stage.
    """
    try:
        loaded = load_rows(stage.data, seed, stage_folder, pin)
        made = convert(loaded, PURPOSES[stage.kind], system, stage.data.format)
        return made, made.rows
    except UserError as error:
        raise UserError(f"stages.{stage.name}.data: {error}") from error


def stage_rows(
    context: StageContext, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows a stage works on and their account for the record: rows in, kept, dropped by reason, hash."""
    seed = data_seed(context.pipeline, context.planned.name)
    rows, account = usable_rows(context.stage, seed, context.system, tokenizer, context.folder_of, context.pin)
    for reason, count in account["dropped"].items():
        if count and reason != "limit":
            context.say(f"dropped {count} of {account['rows_in']} rows: {reason}")
    return rows, account


def usable_rows(
    stage: Any,
    seed: int,
    system: str | None,
    tokenizer: "PreTrainedTokenizerBase",
    stage_folder: Callable[[str], Path],
    pin: Callable[[str], str],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a stage's rows after its limits, and their account; UserError if none is left. Needs no folder of its own,
    so the data doctor calls it before a run.
    """
    block = stage.data
    loaded, rows = source_rows(stage, seed, system, stage_folder, pin)
    dropped = loaded.account.counts()
    if block.limit is not None and len(rows) > block.limit:
        dropped["limit"] = len(rows) - block.limit
        rows = rows[: block.limit]
    if block.max_prompt_tokens is not None:
        rows, dropped["prompt_too_long"] = drop_long_prompts(rows, tokenizer, block.max_prompt_tokens)
    if not rows:
        raise UserError(
            f"stages.{stage.name}.data: no row is left of {loaded.rows_in} (dropped: {dropped}); "
            "raise max_prompt_tokens or give other data"
        )
    digest = hashlib.sha256(canonical_json(rows).encode()).hexdigest()
    account = {
        "source": loaded.source,
        "rows_in": loaded.rows_in,
        "rows_kept": len(rows),
        "dropped": dropped,
        "rows_sha256": digest,
    }
    return rows, account


ROWS_CACHE = "rows_cache"
"""The folder inside a stage's own in which its rows and tokens lie until it is recorded."""


def shared_dataset(rows: list[dict[str, Any]], context: StageContext) -> "Dataset":
    """The rows as a data set that all ranks read from the same files in the stage's folder.

    TRL's caches (tokenised rows, reference log-probabilities) lie beside a data set's files; rows in memory would give
    each rank a temporary folder of its own, where it looks in vain for what rank 0 wrote.
    """
    from datasets import Dataset, load_from_disk

    folder = context.folder / ROWS_CACHE / "rows"
    if context.world.is_main:
        shutil.rmtree(folder, ignore_errors=True)
        Dataset.from_list(rows).save_to_disk(str(folder))
    barrier(context.world)
    return load_from_disk(str(folder))
