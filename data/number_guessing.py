"""Rows of the environment `number_guessing`: games to play, and games played by halving as conversations for sft."""

import json
import random
from collections.abc import Iterator
from typing import Any

QUESTION = "I think of a whole number from {low} to {high}. Find it with as few guesses as you can."
TOOL = {
    "type": "function",
    "function": {
        "name": "guess",
        "description": "Guess the hidden number.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer", "description": "Your guess."}},
            "required": ["number"],
        },
        "return": {"type": "string", "description": "Whether the hidden number is higher, lower, or found."},
    },
}
"""What a model is told of the environment's method; a test compares it with the method itself."""


def told(guess: int, secret: int) -> str:
    """What the environment answers to a guess."""
    if guess == secret:
        return "That is the number."
    return "higher" if guess < secret else "lower"


def games(rows: int, high: int, seed: int, low: int = 1) -> Iterator[dict[str, Any]]:
    """Yield {"prompt", "secret", "low", "high"}, secrets drawn from `seed`."""
    draw = random.Random(seed)
    for _ in range(rows):
        yield {
            "prompt": QUESTION.format(low=low, high=high),
            "secret": draw.randint(low, high),
            "low": low,
            "high": high,
        }


def played(rows: int, high: int, seed: int, low: int = 1) -> Iterator[dict[str, Any]]:
    """Yield conversations {"messages", "tools"} of such games, played by halving what is left."""
    for game in games(rows, high, seed, low):
        asked = {"role": "user", "content": game["prompt"]}
        yield {"messages": [asked, *_halving(game["secret"], low, high)], "tools": json.dumps([TOOL])}


def _halving(secret: int, low: int, high: int) -> Iterator[dict[str, Any]]:
    guess = None
    while guess != secret:
        guess = (low + high) // 2
        call = {"type": "function", "function": {"name": "guess", "arguments": {"number": guess}}}
        yield {"role": "assistant", "content": "", "tool_calls": [call]}
        yield {"role": "tool", "name": "guess", "content": told(guess, secret)}
        low, high = (guess + 1, high) if guess < secret else (low, guess - 1)
    yield {"role": "assistant", "content": f"It is {secret}."}
