"""What the columns of a row mean: every format people store, recognised or declared, turned into message lists.

`table` lists the formats, `recognise` chooses one, `convert` makes a stage's rows and accounts for each; one small
file per family of formats parses them. A row that does not fit is refused with its place: nothing is dropped without
a count, and nothing is guessed.
"""

from data.formats.convert import convert, normalise, prompt_texts, to_preference, to_prompts, to_sft

__all__ = ["convert", "normalise", "prompt_texts", "to_preference", "to_prompts", "to_sft"]
