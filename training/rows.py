"""Rows for a stage, from its data block to message lists, with every row accounted for."""

import hashlib
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.formats import to_preference, to_prompts, to_sft
from data.limits import drop_long_prompts
from data.sources import load_rows
from training.context import StageContext
from training.identity import canonical_json
from training.plan import data_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMATS = {"sft": to_sft, "dpo": to_preference, "grpo": to_prompts, "sample": to_prompts}


def stage_rows(
    context: StageContext, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows a stage works on and their account for the record: rows in, kept, dropped by reason, hash."""
    block = context.stage.data
    loaded = load_rows(block, data_seed(context.pipeline, context.planned.name), context.folder_of, context.pin)
    rows = FORMATS[context.stage.kind](loaded.rows, system=context.system)
    dropped: dict[str, int] = {}
    if block.limit is not None and len(rows) > block.limit:
        dropped["limit"] = len(rows) - block.limit
        rows = rows[: block.limit]
    if block.max_prompt_tokens is not None:
        rows, too_long = drop_long_prompts(rows, tokenizer, block.max_prompt_tokens)
        dropped["prompt_too_long"] = too_long
        if too_long:
            context.say(f"dropped {too_long} of {loaded.rows_in} rows: prompt over {block.max_prompt_tokens} tokens")
    if not rows:
        raise UserError(
            f"stages.{context.planned.name}.data: no row is left of {loaded.rows_in} (dropped: {dropped}); "
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
