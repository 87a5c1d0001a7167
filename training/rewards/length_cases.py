"""Golden cases of reward `length`: max_length 100 with a buffer of 20, so free up to 80, -1 from 100 on."""

from training.rewards.cases import Case

CHARACTERS = {"max_length": 100, "buffer": 20, "unit": "characters"}
TOKENS = {"max_length": 100, "buffer": 20}


def _tokens(count: int, expected: float, why: str) -> Case:
    return Case("text", expected, why, columns={"completion_tokens": count}, parameters=TOKENS)


CASES = [
    Case("", 0.0, "empty is short", parameters=CHARACTERS),
    Case("x" * 80, 0.0, "the last length without punishment", parameters=CHARACTERS),
    Case("x" * 90, -0.5, "half of the buffer used", parameters=CHARACTERS),
    Case("x" * 100, -1.0, "all of the buffer used", parameters=CHARACTERS),
    Case("x" * 5000, -1.0, "far too long is not punished more", parameters=CHARACTERS),
    _tokens(1, 0.0, "tokens are counted by the caller"),
    _tokens(81, -0.05, "the first token beyond"),
    _tokens(95, -0.75, "three quarters of the buffer used"),
    _tokens(101, -1.0, "beyond the maximum"),
]
