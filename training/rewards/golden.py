"""The golden cases of every shipped reward, and whether they are met: for the tests and `posttrain rewards test`."""

import math
from collections.abc import Iterator, Mapping

from training.rewards import (
    REWARDS,
    answer_cases,
    choice_cases,
    code_cases,
    cosine_length_cases,
    environment_cases,
    exact_cases,
    format_cases,
    instructions_cases,
    language_cases,
    length_cases,
    proof_cases,
    reasoning_gym_cases,
    regex_cases,
    repetition_cases,
)
from training.rewards.cases import Case

CASES: dict[str, list[Case]] = {
    "answer": answer_cases.CASES,
    "choice": choice_cases.CASES,
    "code": code_cases.CASES,
    "environment": environment_cases.CASES,
    "exact": exact_cases.CASES,
    "regex": regex_cases.CASES,
    "reasoning_gym": reasoning_gym_cases.CASES,
    "instructions": instructions_cases.CASES,
    "format": format_cases.CASES,
    "length": length_cases.CASES,
    "cosine_length": cosine_length_cases.CASES,
    "repetition": repetition_cases.CASES,
    "language": language_cases.CASES,
    "proof": proof_cases.CASES,
}


def score(name: str, case: Case, level: str | None = None) -> float | None:
    """Return what the reward `name` gives to a case, in this process; at the sandbox level `level`, if one is given."""
    reward = REWARDS[name]
    columns = {column: [value] for column, value in case.columns.items()}
    own = {} if level is None else {"sandbox": level}
    parameters = {**reward.parameters, **own, **case.parameters}
    return reward.function([case.completion], [case.prompt], **columns, **parameters)[0]


def unmet(levels: Mapping[str, str | None]) -> Iterator[tuple[str, Case, float | None]]:
    """Yield (reward, case, what it gave) of the cases of these rewards, at these sandbox levels, that are not met."""
    for name, level in levels.items():
        for case in CASES[name]:
            found = score(name, case, level)
            if not is_met(found, case.expected):
                yield name, case, found


def is_met(found: float | None, expected: float | None) -> bool:
    """Whether a reward is the expected one, to rounding."""
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
