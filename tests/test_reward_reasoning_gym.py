"""Answers that reasoning-gym would run as Python are not shown to it; those people give are."""

import pytest

from training.rewards.reasoning_gym import evaluates, is_harmless

HARMLESS = [
    "95 - 73 + (47 + 22) * 42", "3.5 / 2", "x**2/2 + sin(x) + C", "-6*x**3*exp(2*x)", "10*z**2 + 3", "3! + 1",
    "[[0, 1], [1, 0]]", "['A', 'B', 'B']", "1 2 3 4", "ABCDE", "no idea", "(1, 2)",
]  # fmt: skip
RUNS = [
    '[(open)(*["/tmp/x","w"]).write(*["hi"])]', '(exec)(*["1"])', "open('x')", "S('133')", "x.subs(x, 3)",
    "().__class__", "lambda: 3", "[i for i in range(9)]", "exec\t(chr(49))", "ｅｘｅｃ(1)", "9**9**9**9", "f'{1}'",
    "preview(x)", "sin(x)(y)",
]  # fmt: skip


@pytest.mark.parametrize("answer", HARMLESS)
def test_literal_formula_and_words_are_harmless(answer: str) -> None:
    assert is_harmless(answer)


@pytest.mark.parametrize("answer", RUNS)
def test_what_could_run_is_not(answer: str) -> None:
    assert not is_harmless(answer)


def test_families_that_evaluate_are_known_by_their_source() -> None:
    from data.without_compiler import import_reasoning_gym

    import_reasoning_gym()
    modules = ["games.countdown", "algorithmic.spiral_matrix", "arithmetic.leg_counting"]
    assert [evaluates(f"reasoning_gym.{module}") for module in modules] == [True, True, False]
