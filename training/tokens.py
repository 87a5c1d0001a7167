"""Rows as the tokens a trainer trains on: TRL's own preparation, called without a model and before any limit.

The doctor looks at these tokens and the trainer goes on from them (it truncates, drops and packs), so nothing that is
checked was masked by other code than what is trained. TRL 1.16's `_prepare_dataset` reads three attributes of its
trainer; `tests/test_token_cache.py` compares the result with the dataset of a real one.
"""

import copy
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

TOKEN_COLUMNS = {
    "pretrain": ("text",),
    "sft": ("prompt", "completion"),
    "dpo": ("prompt", "chosen", "rejected"),
    "reward_model": ("prompt", "chosen", "rejected"),
}
"""What of a row reaches the tokens, by kind; rows of other kinds are not tokenised before they are drawn for."""
OPTIONAL_COLUMNS = ("tools", "chat_template_kwargs")
PROMPT_MATCHES = "prompt_matches"
ROW = "row"
"""Which of the stage's rows the tokens are of: trainers drop some."""


def token_columns(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """The columns of a row that its tokens depend on."""
    wanted = (*TOKEN_COLUMNS[kind], *OPTIONAL_COLUMNS)
    return {name: row[name] for name in wanted if row.get(name) is not None}


def tokenise(kind: str, rows: "Dataset", tokenizer: "PreTrainedTokenizerBase", arguments: Any) -> "Dataset":
    """Return the rows with TRL's token columns, untruncated, whether a rollout would render the same prompt, and the
    row's place.

    pretrain, sft: `input_ids`, `labels` (-100 where not trained). dpo: `prompt_ids`, `chosen_ids`, `rejected_ids`.
    reward_model: `chosen_ids`, `rejected_ids`, both with the prompt. Every rank
    must call it; the first one works and the others read what it left beside the files of `rows`.
    """
    from trl.trainer.utils import global_then_local_main_first

    unlimited = copy.copy(arguments)
    unlimited.max_length = None
    prepared = _PREPARE[kind](rows, tokenizer, unlimited)
    with global_then_local_main_first():
        return prepared.map(
            _mark_prompts,
            batched=True,
            with_indices=True,
            fn_kwargs={"tokenizer": tokenizer, "begins": _BEGINS[kind]},
            desc="prompts",
        )


def _prepare_sft(rows: "Dataset", tokenizer: "PreTrainedTokenizerBase", arguments: Any) -> "Dataset":
    from trl import SFTTrainer
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    arguments.shuffle_dataset = False  # the trainer shuffles what it gets
    template = None
    if arguments.assistant_only_loss and not has_generation_markers(tokenizer.chat_template):
        template = get_training_chat_template(tokenizer)
    completion_only = True if arguments.completion_only_loss is None else arguments.completion_only_loss
    trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=template, completion_only_loss=completion_only)
    prepare: Any = SFTTrainer._prepare_dataset
    return prepare(trainer, rows, tokenizer, arguments, False, None, "train")


def _prepare_dpo(rows: "Dataset", tokenizer: "PreTrainedTokenizerBase", arguments: Any) -> "Dataset":
    from trl import DPOTrainer

    prepare: Any = DPOTrainer._prepare_dataset
    return prepare(SimpleNamespace(_tokenizer=tokenizer), rows, tokenizer, arguments, "train")


def _prepare_reward_model(rows: "Dataset", tokenizer: "PreTrainedTokenizerBase", arguments: Any) -> "Dataset":
    from trl import RewardTrainer

    prepare: Any = RewardTrainer._prepare_dataset
    return prepare(SimpleNamespace(), rows, tokenizer, arguments, "train")


_PREPARE = {"pretrain": _prepare_sft, "sft": _prepare_sft, "dpo": _prepare_dpo, "reward_model": _prepare_reward_model}
_BEGINS = {"pretrain": "input_ids", "sft": "input_ids", "dpo": "prompt_ids", "reward_model": "chosen_ids"}


def _mark_prompts(
    batch: dict[str, list[Any]], places: list[int], tokenizer: Any, begins: str
) -> dict[str, list[bool] | list[int]]:
    """Whether each row's tokens begin with its prompt as `training.grpo.rollout` and `decode` render it; its place."""
    if "prompt" not in batch:  # raw text: no rollout ever renders it
        return {PROMPT_MATCHES: [True] * len(places), ROW: places}
    rendered = rendered_prompts(batch["prompt"], tokenizer, batch.get("tools"), batch.get("chat_template_kwargs"))
    pairs = zip(rendered, batch[begins], strict=True)
    return {PROMPT_MATCHES: [list(ids[: len(prompt)]) == list(prompt) for prompt, ids in pairs], ROW: places}


def rendered_prompts(
    prompts: list[Any], tokenizer: Any, tools: list[Any] | None = None, options: list[Any] | None = None
) -> list[list[int]]:
    """Token ids of prompts (messages) as generation gets them: the chat template with its generation prompt.

    `tools` are each prompt's, JSON schemas as JSON text.
    """
    if not tools and not options:
        return tokenizer.apply_chat_template(prompts, add_generation_prompt=True, tokenize=True, return_dict=True)[
            "input_ids"
        ]
    return [
        tokenizer.apply_chat_template(
            prompt,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            tools=json.loads(tools[place]) if tools and tools[place] else None,
            **((options[place] if options else None) or {}),
        )["input_ids"]
        for place, prompt in enumerate(prompts)
    ]


class TakesTokenisedPairs:
    """Mixin over DPOTrainer: `_prepare_dataset` (TRL 1.16) leaves rows that `tokenise` made as they are.

    SFTTrainer does so by itself. What remains of TRL's method is its filter of prompts that fill `max_length`.
    """

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        from trl.trainer.utils import global_then_local_main_first

        if "prompt_ids" not in dataset.column_names:
            return super()._prepare_dataset(dataset, processing_class, args, dataset_name)  # type: ignore[misc]
        if args.max_length is None or args.truncation_mode != "keep_start":
            return dataset
        limit = args.max_length
        with global_then_local_main_first():
            return dataset.filter(lambda row: len(row["prompt_ids"]) < limit, num_proc=args.dataset_num_proc)
