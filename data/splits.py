"""Which rows are held out for validation: decided by a hash of the prompt, so that two rows with the same prompt are
always on the same side, in whatever order, number or mixture they come.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from data.normalise import prompt_text


def held_out(prompt: str, share: float, seed: int) -> bool:
    """Return whether a normalised prompt belongs to the share (0 to 1) held out under `seed`."""
    digest = hashlib.blake2b(f"{seed}:{prompt}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def split_rows(rows: Sequence[dict[str, Any]], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the positions of the rows to train on and of those held out; rows need a prompt (text or messages).

    Prompts are compared as `data.normalise.prompt_text` gives them. The share is that of prompts in expectation; what
    comes out for a few hundred rows varies.
    """
    train: list[int] = []
    validation: list[int] = []
    for number, row in enumerate(rows):
        (validation if held_out(prompt_text(row), share, seed) else train).append(number)
    return train, validation
