"""Golden cases of reward `reasoning_gym`: a countdown (133 from 42, 73, 22, 95, 47) and a chain_sum (3974).

The shares below 1 are the families' own: countdown gives 0.05 to an expression of another value.
"""

import json

from training.rewards.cases import Case

COUNTDOWN = json.dumps({"family": "countdown", "parameters": {}, "seed": 1, "index": 0})
SUM = json.dumps({"family": "chain_sum", "parameters": {"min_terms": 2, "max_terms": 2}, "seed": 1, "index": 0})


def _case(completion: str, expected: float | None, why: str, task: str | None = COUNTDOWN, **more: bool) -> Case:
    return Case(completion, expected, why, columns={"task": task}, parameters=more)


CASES = [
    _case("<answer>95 - 73 + 47 + 22 + 42</answer>", 1.0, "the reference"),
    _case("<answer>42 + 22 + 47 - (73 - 95)</answer>", 1.0, "another right answer"),
    _case("\\boxed{95 - 73 + 47 + 22 + 42}", 1.0, "in a box"),
    _case("First I add.\n95 - 73 + 47 + 22 + 42", 1.0, "the last line without a tag"),
    _case("<think>95</think><answer>95 - 73 + 47 + 22 + 42</answer>", 1.0, "thinking does not count"),
    _case("<answer>3974</answer>", 1.0, "a sum", task=SUM),
    _case("<answer>95 + 73 + 47 + 22 + 42</answer>", 0.05, "another value"),
    _case("<answer>133</answer>", 0.05, "the target itself uses none of the numbers"),
    _case("<answer>95 + 42 - 2 - 2</answer>", 0.05, "numbers that were not given"),
    _case("<answer>no idea</answer>", 0.01, "no expression"),
    _case("<answer>3975</answer>", 0.0, "another sum", task=SUM),
    _case("", 0.0, "empty"),
    _case("<answer></answer>", 0.0, "an empty tag"),
    _case("anything", None, "no task: not applicable", task=None),
    _case("95 - 73 + 47 + 22 + 42", 0.0, "strict takes tags only", strict=True),
    _case("<think>95 - 73 + 47 + 22 + 42", 0.0, "thinking that never ends"),
    _case("<answer>__import__('os').getpid() * 0 + 133</answer>", 0.0, "Python that a family would evaluate"),
    _case("<answer>open ('/dev/null') and 133</answer>", 0.0, "a call of a builtin"),
    _case("<answer>S('133')</answer>", 0.0, "a call with a text, which sympy would evaluate"),
    _case('<answer>[(open)(*["/dev/null","r"]), 133][1]</answer>', 0.0, "a builtin in brackets"),
    _case("<answer>exec\t(chr(49))</answer>", 0.0, "a builtin behind a tab"),
    _case("<answer>9**9**9**9</answer>", 0.0, "a tower of powers is not computed"),
]
