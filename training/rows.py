"""Rows for a stage, from its data block to message lists, with every row accounted for."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.accounting import DROPPED_ROWS, write_dropped
from data.errors import UserError
from data.formats import convert
from data.limits import long_prompts
from data.sources import Rows, load_rows
from data.splits import split_rows
from training.cleaning import cleaned
from training.config.data_blocks import PURPOSES
from training.context import StageContext
from training.difficulty import within_difficulty
from training.identity import canonical_json
from training.json_lines import write_lines
from training.mixture import MixedRows, joined_sources, mixture, source_names
from training.plan import data_seed, seeded_sources
from training.tools import tokenizer_for_tools, tool_schemas
from training.whole_folder import flush_tree
from training.world import barrier

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from training.config import Pipeline


def source_rows(
    stage: Any,
    seed: int,
    system: str | None,
    stage_folder: Callable[[str], Path] | None = None,
    pin: Callable[[str], str] | None = None,
) -> Rows:
    """Return a stage's rows in the shape its kind works on, with their account; a mistake names the stage."""
    block = stage.data
    try:
        parts = []
        for part, part_seed in seeded_sources(block, seed):
            loaded = load_rows(part, part_seed, stage_folder, pin)
            parts.append(with_tools(convert(loaded, PURPOSES[stage.kind], system, part.format, tool_use(stage)), stage))
        if block.mix is None:
            return parts[0]
        limited = [first(made, part.limit) for made, part in zip(parts, block.mix, strict=True)]
        return joined_sources(limited, source_names(block))
    except UserError as error:
        raise UserError(f"stages.{stage.name}.data: {error}") from error


def tool_use(stage: Any) -> str:
    """What the rows of a stage may say of tools (`data.formats.convert`): only sft trains on calls."""
    if stage.kind != "sft" or not stage.tools:
        return "refused"
    return "rows" if stage.tools == "rows" else "stage"


def with_tools(rows: Rows, stage: Any) -> Rows:
    """Return the rows, told of the stage's own tools if it has any."""
    if tool_use(stage) != "stage":
        return rows
    schemas = tool_schemas(stage.tools, stage.name)
    return replace(rows, rows=[{**row, "tools": schemas} for row in rows.rows])


def first(rows: Rows, limit: int | None) -> Rows:
    """Return the first `limit` rows; None is all of them."""
    if limit is None:
        return rows
    return rows.without(dict.fromkeys(range(limit, len(rows.rows)), ""), "limit")


def set_aside(rows: Rows, share: float, seed: int) -> Rows:
    """Return the rows to train on; those of the share of prompts held out are kept apart in `held_out`."""
    _, places = split_rows(rows.rows, share, seed)
    held_out = [rows.rows[place] for place in places]
    return replace(rows.without(dict.fromkeys(places, ""), "validation"), held_out=held_out)


def stage_rows(context: StageContext, tokenizer: "PreTrainedTokenizerBase") -> tuple[Rows, dict[str, Any]]:
    """Return the rows a stage works on and their account for the record: rows in, kept, dropped by reason, hash."""
    seed = data_seed(context.pipeline, context.planned.name)
    usable = rows_in_limits(
        context.pipeline, context.stage, seed, context.system, tokenizer, context.folder_of, context.pin
    )
    for reason, count in usable.account.counts().items():
        if reason not in ("limit", "not_drawn", "validation"):
            context.say(f"dropped {count} of {usable.rows_in} rows: {reason} ({DROPPED_ROWS} lists them)")
    if usable.held_out:
        context.say(f"{len(usable.held_out)} rows are held out for validation ({VALIDATION_ROWS})")
    if context.world.is_main:
        write_dropped(context.folder / DROPPED_ROWS, [usable.account])
        if usable.held_out:
            write_lines(context.folder / VALIDATION_ROWS, usable.held_out)
    return usable, account_in_record(usable)


def rows_in_limits(
    pipeline: "Pipeline",
    stage: Any,
    seed: int,
    system: str | None,
    tokenizer: "PreTrainedTokenizerBase",
    stage_folder: Callable[[str], Path],
    pin: Callable[[str], str],
) -> Rows:
    """Return a stage's rows after cleaning, `difficulty`, `limit` and `max_prompt_tokens`; UserError if none is left.

    Needs no folder of its own, so the data doctor calls it before a run.
    """
    block = stage.data
    if tool_use(stage) != "refused":
        tokenizer_for_tools(tokenizer, stage.name)
    usable = source_rows(stage, seed, system, stage_folder, pin)
    usable = cleaned(usable, block, pipeline, system, pin)
    try:
        usable = within_difficulty(usable, block, stage_folder)
    except UserError as error:
        raise UserError(f"stages.{stage.name}.data.{error}") from error
    if block.validation is not None:
        usable = set_aside(usable, block.validation.share, block.validation.split_seed(seed))
    if block.mix is None:
        usable = first(usable, block.limit)
    if block.max_prompt_tokens is not None:
        usable = usable.without(long_prompts(usable.rows, tokenizer, block.max_prompt_tokens), "prompt_too_long")
    if not usable.rows:
        raise UserError(
            f"stages.{stage.name}.data: no row is left of {usable.rows_in} (dropped: {usable.account.counts()}); "
            "raise max_prompt_tokens, leave out less or give other data"
        )
    if isinstance(usable, MixedRows):
        try:
            return mixture(usable, block, seed)
        except UserError as error:
            raise UserError(f"stages.{stage.name}.data: {error}") from error
    usable.account.check_kept(len(usable.rows))
    return usable


def account_in_record(usable: Rows) -> dict[str, Any]:
    """What the record says of a stage's rows: source, rows in, kept, dropped by reason, hash."""
    repeated = len(usable.rows) - usable.account.rows_kept
    return {
        "source": usable.source,
        "rows_in": usable.rows_in,
        "rows_kept": len(usable.rows),
        **({"repeated": repeated} if repeated else {}),
        "dropped": usable.account.counts(),
        "rows_sha256": hashlib.sha256(canonical_json(usable.rows).encode()).hexdigest(),
    }


VALIDATION_ROWS = "validation.jsonl"
"""The rows held out of a stage, in the shape it would train on."""


ROWS_CACHE = "rows_cache"
"""The folder inside a stage's own in which its rows and tokens lie until it is recorded."""


_WHOLE = "whole"
"""The file in it that says that everything in it is on disk."""


def drop_torn_rows(context: StageContext) -> None:
    """Remove what an earlier attempt kept of its rows and tokens unless all of it had reached the disk."""
    folder = context.folder / ROWS_CACHE
    if context.world.is_main and not (folder / _WHOLE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
    barrier(context.world)


def keep_rows(context: StageContext) -> None:
    """Have what the trainer has made of its rows by now outlive this process, and a power cut."""
    folder = context.folder / ROWS_CACHE
    if context.world.is_main and folder.is_dir() and not (folder / _WHOLE).is_file():
        flush_tree(folder)
        (folder / _WHOLE).touch()


def shared_dataset(rows: list[dict[str, Any]], context: StageContext) -> "Dataset":
    """The rows as a data set that all ranks read from the same files in the stage's folder.

    TRL's caches (tokenised rows, reference log-probabilities) lie beside a data set's files; rows in memory would give
    each rank a temporary folder of its own, where it looks in vain for what rank 0 wrote.
    """
    from datasets import load_from_disk

    folder = context.folder / ROWS_CACHE / "rows"
    if context.world.is_main:
        shutil.rmtree(folder, ignore_errors=True)
        table(rows).save_to_disk(str(folder))
    barrier(context.world)
    return load_from_disk(str(folder))


def table(rows: list[dict[str, Any]]) -> "Dataset":
    """The rows as a data set in memory; messages that call tools keep the keys they have, and no others."""
    from datasets import Dataset

    names = dict.fromkeys(name for row in rows for name in row)  # from_list looks at the first row alone
    whole = [{name: row.get(name) for name in names} for row in rows]
    return Dataset.from_list(whole, on_mixed_types="use_json" if "tools" in names else None)
