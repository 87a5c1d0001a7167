"""Golden cases of reward `cosine_length` with at most 100 tokens: cos(0) = 1, cos(pi/2) = 0, cos(pi/3) = 1/2."""

from training.rewards.cases import Case


def _case(completion: str, tokens: int, expected: float | None, why: str, answer: object = "7", **more: object) -> Case:
    columns = {"answer": answer, "completion_tokens": tokens}
    return Case(completion, expected, why, columns=columns, parameters={"max_length": 100, **more})


RIGHT, WRONG = "<answer>7</answer>", "<answer>8</answer>"
CASES = [
    _case(RIGHT, 0, 2.0, "right and empty in length: the most"),
    _case(RIGHT, 50, 1.5, "right, half way"),
    _case(RIGHT, 60, 1.0 + 0.5 * (1 - 0.30901699437494745), "right, cos(0.6 pi) = -0.309"),
    _case(WRONG, 0, -10.0, "wrong at once: the least"),
    _case(WRONG, 50, -5.0, "wrong, half way: trying longer costs less"),
    _case(RIGHT, 100, -10.0, "at the limit it was cut off, right or not"),
    _case(WRONG, 100, -10.0, "wrong and cut off"),
    _case(RIGHT, 5000, -10.0, "beyond the limit"),
    _case(RIGHT, 50, 0.75, "own ends", right=[1.0, 0.5]),
    _case(WRONG, 50, -0.75, "own ends when wrong", wrong=[-1.0, -0.5]),
    _case(RIGHT, 100, 0.0, "own punishment at the limit", exceeded=0.0),
    _case("", 1, -10.0 + 5.0 * (1 - 0.9995065603657316), "empty text is wrong, one token (the end)"),
    _case("7 or 8", 50, -5.0, "a hedge is wrong"),
    _case("<think>7", 50, -5.0, "an answer in the thinking only is wrong"),
    _case(RIGHT, 50, None, "no expected answer: not applicable", answer=None),
]
