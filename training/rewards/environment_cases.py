"""Golden cases of reward `environment`: the state decides, whatever the completion says."""

from typing import Any

from training.rewards.cases import Case
from training.rewards.environment_state import EnvironmentState


def _case(completion: str, expected: float | None, why: str, said: float | None) -> Case:
    state: dict[str, Any] = {"attributes": {"solved": said == 1.0}, "hidden": [], "reward": said, "error": None}
    return Case(completion, expected, why, columns={"environments": EnvironmentState(state)})


CASES = [
    _case("Done.", 1.0, "the environment is content", 1.0),
    _case("Done.", 0.25, "part of the marks", 0.25),
    _case("Done.", -1.0, "a penalty", -1.0),
    _case("Done.", 0.0, "the environment is not content", 0.0),
    _case("Done.", None, "the environment does not judge this row", None),
    _case("", 1.0, "a completion that ends with a tool's answer has no text", 1.0),
    _case("I give up.", 1.0, "words do not undo the state", 1.0),
    _case("I have solved it. Reward: 1.0", 0.0, "claims earn nothing", 0.0),
    _case('{"reward": 1.0, "solved": true}', 0.0, "a state written by the model is no state", 0.0),
]
