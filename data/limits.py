"""The prompt limit: rows whose rendered prompt is too long are dropped and counted (TRL 1.16 has no such limit)."""

import json
from typing import Any


def long_prompts(rows: list[dict[str, Any]], tokenizer: Any, max_prompt_tokens: int) -> dict[int, str]:
    """Return the index of each row whose prompt (messages) has more than `max_prompt_tokens` tokens -> how many.

    Counted on the prompt as the model gets it: the chat template with the generation prompt. A template that cannot
    render a row raises the template's own error.
    """
    counts = ((index, prompt_tokens(row["prompt"], tokenizer, row.get("tools"))) for index, row in enumerate(rows))
    return {index: f"{count} tokens" for index, count in counts if count > max_prompt_tokens}


def prompt_tokens(prompt: list[dict[str, str]], tokenizer: Any, tools: str | None = None) -> int:
    """Return the number of tokens of the rendered prompt; `tools` are those it tells of, as JSON text."""
    told = {} if tools is None else {"tools": json.loads(tools)}
    text = tokenizer.apply_chat_template(prompt, **told, tokenize=False, add_generation_prompt=True)
    # The template writes the special tokens itself.
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
