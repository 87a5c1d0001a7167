"""The prompt limit: rows whose rendered prompt is too long are dropped and counted (TRL 1.16 has no such limit)."""

from typing import Any


def drop_long_prompts(
    rows: list[dict[str, Any]], tokenizer: Any, max_prompt_tokens: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the rows whose prompt (messages) has at most `max_prompt_tokens` tokens, and how many were dropped.

    Counted on the prompt as the model gets it: the chat template with the generation prompt. A template that cannot
    render a row raises the template's own error.
    """
    kept = [row for row in rows if prompt_tokens(row["prompt"], tokenizer) <= max_prompt_tokens]
    return kept, len(rows) - len(kept)


def prompt_tokens(prompt: list[dict[str, str]], tokenizer: Any) -> int:
    """Return the number of tokens of the rendered prompt."""
    text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    # The template writes the special tokens itself.
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
