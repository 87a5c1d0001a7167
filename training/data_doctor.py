"""The data doctor: a stage's rows after the real tokenisation, examined by `data.doctor`; a gate before training.

Before the first stage (`--check`) it looks at a spread sample of every stage whose rows can be read already: a fault of
template or mask shows in any sixty rows, and nobody should wait hours for it. At the start of each stage it looks at
all rows, which are tokenised then anyway. `posttrain data` does the latter without a run.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.accounting import Rows
from data.doctor.examination import Examination, examine
from data.doctor.flags import FLAGS
from data.doctor.sequences import TokenFacts, TokenRow, TokenSequence
from data.errors import UserError
from training.context import StageContext
from training.mixture import findings_by_source
from training.models import end_tokens, weights_folder
from training.rows import table
from training.token_cache import tokenised_rows
from training.tokens import PROMPT_MATCHES, TOKEN_COLUMNS, rendered_prompts, token_columns, tokenise
from training.world import gather

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

FLAGGED_ROWS = "flagged_rows.jsonl"
SAMPLE_ROWS = 64
BATCH = 256


@dataclass(frozen=True)
class Limits:
    """The window a trainer keeps of a sequence: `max_length` tokens from its start or its end, and where they count."""

    max_length: int | None = None
    keep_end: bool = False
    context: int | None = None
    room: int = 0

    @property
    def window(self) -> slice:
        """The kept positions."""
        if self.max_length is None:
            return slice(None)
        return slice(-self.max_length, None) if self.keep_end else slice(None, self.max_length)


def limits_of(stage: Any, arguments: Any, context_length: int | None) -> Limits:
    """What a stage's trainer keeps; `arguments` is its TRL config, None for a `sample` stage."""
    if stage.kind == "sample":
        return Limits(context=context_length, room=stage.max_completion_length)
    if stage.kind == "grpo":
        return Limits(context=context_length, room=arguments.max_completion_length or 0)
    if stage.kind == "reward_model":
        return Limits(context=context_length)  # what exceeds max_length is dropped whole and counted
    if getattr(arguments, "packing", False):
        cuts = arguments.packing_strategy == "bfd"  # the other strategies go on in the next row
        return Limits(arguments.max_length if cuts else None, context=context_length)
    return Limits(arguments.max_length, arguments.truncation_mode == "keep_end", context_length)


def token_facts(tokenizer: "PreTrainedTokenizerBase", model: Path, limits: Limits) -> TokenFacts:
    """What the checks need of the tokenizer and of the model's folder."""

    @cache
    def is_blank(token: int) -> bool:
        return not tokenizer.decode([token]).strip()

    limit = limits.max_length if limits.room == 0 else limits.context
    return TokenFacts(tokenizer.bos_token_id, end_ids(tokenizer, model), is_blank, limit, limits.room)


def end_ids(tokenizer: "PreTrainedTokenizerBase", model: Path) -> frozenset[int]:
    """Every token that ends a completion: the tokenizer's EOS and those of the model's generation config."""
    path = model / "generation_config.json"
    configured = json.loads(path.read_text()).get("eos_token_id") if path.is_file() else None
    return frozenset(end_tokens(configured, tokenizer))


def context_length(model: Path) -> int | None:
    """The positions a model was made for, as its config says."""
    config = json.loads((model / "config.json").read_text())
    return config.get("max_position_embeddings") or config.get("text_config", {}).get("max_position_embeddings")


def token_rows(kind: str, tokens: "Dataset", numbers: list[int], window: slice) -> Iterator[TokenRow]:
    """The doctor's rows from tokenised ones; `numbers` are those of the source, in the same order."""
    read = {
        "pretrain": _sft_sequences,
        "sft": _sft_sequences,
        "dpo": _pair_sequences,
        "reward_model": _scored_sequences,
    }[kind]
    place = 0
    for batch in tokens.iter(batch_size=BATCH):
        for at in range(len(batch[PROMPT_MATCHES])):
            row = {name: values[at] for name, values in batch.items()}
            yield TokenRow(numbers[place], read(row, window), row[PROMPT_MATCHES])
            place += 1


def _sft_sequences(row: dict[str, Any], window: slice) -> dict[str, TokenSequence]:
    return {"row": TokenSequence(row["input_ids"], [label != -100 for label in row["labels"]], window)}


def _pair_sequences(row: dict[str, Any], window: slice) -> dict[str, TokenSequence]:
    prompt = row["prompt_ids"]
    return {
        name: TokenSequence(prompt + answer, [False] * len(prompt) + [True] * len(answer), window)
        for name, answer in (("chosen", row["chosen_ids"]), ("rejected", row["rejected_ids"]))
    }


def _scored_sequences(row: dict[str, Any], window: slice) -> dict[str, TokenSequence]:
    """Whole conversations; what both have in front, the prompt, is what a score does not depend on."""
    chosen, rejected = row["chosen_ids"], row["rejected_ids"]
    pairs = enumerate(zip(chosen, rejected, strict=False))
    shared = next((place for place, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    return {
        name: TokenSequence(ids, [place >= shared for place in range(len(ids))], window)
        for name, ids in (("chosen", chosen), ("rejected", rejected))
    }


def prompt_rows(rows: list[dict[str, Any]], numbers: list[int], tokenizer: Any) -> Iterator[TokenRow]:
    """The doctor's rows of a stage that draws completions: prompts as the rollout renders them."""
    for start in range(0, len(rows), BATCH):
        part = [row["prompt"] for row in rows[start : start + BATCH]]
        for number, ids in zip(numbers[start:], rendered_prompts(part, tokenizer), strict=False):
            yield TokenRow(number, {"prompt": TokenSequence(ids, [False] * len(ids))})


def examine_rows(
    stage: Any,
    rows: list[dict[str, Any]],
    numbers: list[int],
    tokenizer: "PreTrainedTokenizerBase",
    model: Path,
    arguments: Any,
    tokens: "Dataset | None" = None,
    previews: int = 0,
) -> Examination:
    """Examine rows of a stage; `tokens` are theirs if they are tokenised already, `model` the folder of its model."""
    model = weights_folder(model)
    limits = limits_of(stage, arguments, context_length(model))
    facts = token_facts(tokenizer, model, limits)
    if stage.kind not in TOKEN_COLUMNS:
        return examine(prompt_rows(rows, numbers, tokenizer), facts, previews)
    if tokens is None:
        plain = table([token_columns(row, stage.kind) for row in rows])
        tokens = tokenise(stage.kind, plain, tokenizer, arguments)
    return examine(token_rows(stage.kind, tokens, numbers, limits.window), facts, previews)


def examine_stage(
    context: StageContext, usable: Rows, tokenizer: "PreTrainedTokenizerBase", arguments: Any = None
) -> dict[str, Any]:
    """The gate at a stage's start: examine all rows on rank 0; UserError on every rank if too many are flagged.

    Returns the summary for the record and leaves the flagged and noted rows in `flagged_rows.jsonl`.
    """
    stage, rows = context.stage, usable.rows
    tokens = tokenised_rows(rows, context, tokenizer, arguments) if stage.kind in TOKEN_COLUMNS else None
    verdict: dict[str, Any] = {}
    if context.world.is_main:
        found = examine_rows(stage, rows, usable.numbers, tokenizer, context.parent_model, arguments, tokens)
        write_findings(context.folder / FLAGGED_ROWS, found)
        summary = found.summary()
        if sources := findings_by_source(usable, found):
            summary["sources"] = sources
        verdict = {"summary": summary, "refusal": refusal(stage, found, context.folder / FLAGGED_ROWS)}
        if found.num_flagged_rows:
            context.say(f"{found.num_flagged_rows} of {found.rows} rows flagged: {counted(found)}")
    verdict = gather(context.world, verdict)[0]
    if verdict["refusal"] is not None:
        raise UserError(verdict["refusal"])
    return verdict["summary"]


def refusal(stage: Any, found: Examination, listed: Path | None = None) -> str | None:
    """Why a stage's data is refused, or None: more rows flagged than `data.max_flagged_rows` admits."""
    most = stage.data.max_flagged_rows
    if found.flagged_share <= most:
        return None
    name = max(found.flagged, key=lambda flag: len(found.flagged[flag]))
    where = "" if listed is None else f" All are in {listed}."
    return (
        f"stages.{stage.name}.data: {found.num_flagged_rows} of {found.rows} rows are flagged ({counted(found)}), over "
        f"max_flagged_rows={most:g}. The first {name} is row {found.flagged[name][0]}: {FLAGS[name]}.{where} "
        f"`posttrain data CONFIG --stage {stage.name}` shows the tokens"
    )


def counted(found: Examination) -> str:
    """The flags with their counts, in words."""
    return ", ".join(f"{len(numbers)} {name}" for name, numbers in found.flagged.items())


def write_findings(path: Path, found: Examination) -> None:
    """Write every flagged and noted row with its number as JSON lines; an older file goes where there are none."""
    lines = [json.dumps(finding) for finding in found.findings()]
    if lines:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
