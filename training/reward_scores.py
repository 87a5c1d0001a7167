"""Scores of a reward model, each kept under the hash of (model, prompt, completion) (`training.score_cache`).

A score is the one logit of a sequence classification model at the end of the conversation, as trl.RewardTrainer trains
it: the chat template over prompt and answer, nothing cut. The model is known by the content of its files.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.data_doctor import context_length
from training.identity import canonical_json, sha256_text
from training.models import load_tokenizer
from training.score_cache import ScoreCache, model_files_key

if TYPE_CHECKING:
    import torch

ROWS = 16
"""Conversations of one prompt that are scored together."""

Messages = list[dict[str, str]]


class RewardModelScorer:
    """A reward model in memory; `score` asks the cache first, where there is one."""

    def __init__(self, folder: Path, dtype: str, device: "torch.device", rank: int = 0, cached: bool = True) -> None:
        """`folder` holds a sequence classification model with one output and its tokenizer; UserError otherwise."""
        self.tokenizer = load_tokenizer(folder)
        self.model = load_reward_model(folder, dtype).eval().to(device)
        self.model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        self.context = context_length(folder)
        key = model_files_key(folder, {"dtype": dtype}) if cached else None
        self.cache = None if key is None else ScoreCache("reward_scores", key, rank)

    def score(self, prompt: Messages, completions: list[str]) -> list[float | None]:
        """Return the score of each answer to a prompt; None where the conversation exceeds the model's context.

        All answers are computed where one is not in the cache: what stands in a batch together decides the last bits.
        """
        if self.cache is None:
            return self._computed(prompt, completions)
        keys = [score_key(prompt, completion) for completion in completions]
        if not all(key in self.cache for key in keys):
            self.cache.add(dict(zip(keys, self._computed(prompt, completions), strict=True)))
        return [self.cache[key] for key in keys]

    def close(self) -> None:
        """Close the cache's file."""
        if self.cache is not None:
            self.cache.close()

    def _computed(self, prompt: Messages, completions: list[str]) -> list[float | None]:
        conversations = [[*prompt, {"role": "assistant", "content": completion}] for completion in completions]
        rendered = self.tokenizer.apply_chat_template(conversations, tokenize=True, return_dict=True)["input_ids"]
        fitting = [place for place, ids in enumerate(rendered) if self.context is None or len(ids) <= self.context]
        scores: list[float | None] = [None] * len(rendered)
        for start in range(0, len(fitting), ROWS):
            places = fitting[start : start + ROWS]
            for place, value in zip(places, self._logits([rendered[place] for place in places]), strict=True):
                scores[place] = value
        return scores

    def _logits(self, rows: list[list[int]]) -> list[float]:
        import torch

        width, device = max(map(len, rows)), next(self.model.parameters()).device
        pad = self.tokenizer.pad_token_id
        ids_BT = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in rows], device=device)
        mask_BT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in rows], device=device)
        with torch.no_grad():
            logits_B1 = self.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
        return [float(value) for value in logits_B1.float().squeeze(-1)]


def load_reward_model(folder: Path, dtype: str = "float32", attention: str | None = None) -> Any:
    """Load a sequence classification model with one output.

    A language model gets a new head, from torch's random numbers; what else has another number of outputs is refused.
    transformers would report the head as missing, which is what is meant (`check_reward_model` looks at the others).
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "local_files_only": True, "num_labels": 1}
    if attention is not None:
        options["attn_implementation"] = attention
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        return AutoModelForSequenceClassification.from_pretrained(str(folder), **options)
    finally:
        transformers_logging.set_verbosity(verbosity)


def check_reward_model(folder: Path, reference: str) -> None:
    """Raise UserError unless `folder` holds a model that was trained to give one number."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    kinds = config.get("architectures") or ["none"]
    outputs = len(config.get("id2label") or {0: "", 1: ""})
    if not kinds[0].endswith("ForSequenceClassification") or outputs != 1:
        raise UserError(
            f"reward_model: {reference} is no reward model: its config.json names {kinds[0]} with {outputs} output(s); "
            "give a sequence classification model with one output, such as a stage of kind reward_model leaves"
        )


def score_key(prompt: Messages, completion: str) -> str:
    """Return what names the score of an answer to a prompt."""
    return sha256_text(canonical_json([prompt, completion]))
