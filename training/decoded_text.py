"""Completions as TRL 1.16's `GRPOTrainer._generate` hands them to rewards, for who scores before TRL decodes."""

from typing import Any

from trl.chat_template_utils import parse_response


def decoded(trainer: Any, prompt_ids: list[list[int]], completion_ids: list[list[int]]) -> list[list[dict[str, Any]]]:
    """One assistant message a completion; a tokenizer with a response template parses it, as in TRL."""
    tokenizer = trainer.processing_class
    if any(getattr(tokenizer, name, None) is not None for name in ("response_template", "response_schema")):
        pairs = zip(prompt_ids, completion_ids, strict=True)
        return [[parse_response(tokenizer, ids, prefix=prefix, tools=trainer.tools)] for prefix, ids in pairs]
    texts = tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
    return [[{"role": "assistant", "content": text}] for text in texts]
