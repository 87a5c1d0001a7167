"""Golden cases of reward `code`, run in the sandbox. Programs that attack it are in `tests/hostile_programs.py`."""

import json

from training.rewards.cases import Case

ADD = "def add(a, b):\n    return a + b\n"
CALLS = [{"call": "add(3, 4)", "returns": "7"}, {"call": "add", "args": [0.1, 0.2], "returns": 0.3}]
STDIN = [{"stdin": "3 4\n", "stdout": "7\n"}, {"stdin": "10 -4", "stdout": "6"}]
SCRIPT = ["assert add(3, 4) == 7", "assert add([1], [2]) == [1, 2]\nassert isinstance(add(1, 1), int)"]
CHECK = {"script": "def check(candidate):\n    for n in range(3):\n        assert candidate(n, n) == 2 * n\ncheck(add)"}
READS = "a, b = map(int, input().split())\nprint(a + b)\n"
SPIN = "def add(a, b):\n    while True:\n        pass\n"
RAISES = "try:\n    half(3)\n    assert False\nexcept ValueError:\n    pass"


def _case(
    program: str, expected: float | None, why: str, tests: object = CALLS, fence: str = "python", **parameters: object
) -> Case:
    return Case(f"Here it is:\n```{fence}\n{program}```\n", expected, why, "", {"tests": tests}, parameters)


CASES = [
    _case(ADD, 1.0, "calls, in Python's literals and in JSON's"),
    _case(ADD, 1.0, "the tests as JSON text", json.dumps(CALLS)),
    _case(ADD, 1.0, "asserts over functions of the program", SCRIPT),
    _case(ADD, 1.0, "a check function, as HumanEval has them", [CHECK]),
    _case(READS, 1.0, "a whole program, by what it prints", STDIN),
    _case(READS, 1.0, "inputs and outputs side by side", {"inputs": ["1 2", "3 3"], "outputs": ["3", "6"]}),
    _case(
        ADD, 1.0, "a function named beside inputs and outputs", {"inputs": [[1, 2]], "outputs": [3], "fn_name": "add"}
    ),
    _case(f"print('noise')\n{ADD}", 1.0, "what a program prints is not what its functions return"),
    _case(
        "class Box:\n    n = 2\n    def double(self):\n        return (self.n * 2, {self.n})\n",
        1.0,
        "an object's method; a tuple and a set come back as such",
        [{"call": "Box().double()", "returns": "(4, {2})"}],
    ),
    _case(
        "def half(n):\n    if n % 2:\n        raise ValueError(n)\n    return n // 2\n",
        1.0,
        "an exception reaches the test by its kind",
        [RAISES, "assert half(4) == 2"],
    ),
    _case(
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\ndef add(a, b): return P(a).x + b\n",
        1.0,
        "what needs the program to be a module works",
    ),
    Case(ADD, 1.0, "no fence: the text is the program", "", {"tests": CALLS}),
    Case(
        f"```python\ndef add(a, b): return 0\n```\nBetter:\n```py\n{ADD}```\nOutput:\n```text\n7\n```",
        1.0,
        "the last block of Python counts",
        "",
        {"tests": CALLS},
    ),
    Case(
        "<think>```python\nbad\n```</think>```\n" + ADD + "```", 1.0, "thinking is not the answer", "", {"tests": CALLS}
    ),
    _case("def add(a, b):\n    return a - b\n", 0.0, "wrong"),
    _case("def add(a, b):\n    return 7\n", 0.0, "one of two tests passed"),
    _case("def add(a, b):\n    return 7\n", 0.5, "one of two tests passed, partial", partial=True),
    _case("def add(a, b):\n    return '7'\n", 0.0, "a text is no number"),
    _case("def add(a, b) return a + b\n", 0.0, "no Python"),
    _case("", 0.0, "an empty block"),
    Case("I cannot do that.", 0.0, "no program", "", {"tests": CALLS}),
    Case(f"```python\n{ADD}", 0.0, "a block cut off", "", {"tests": CALLS}),
    Case(f"```javascript\n{ADD}```", 0.0, "another language", "", {"tests": CALLS}),
    _case("def add(a, b):\n    return a / 0\n", 0.0, "raises"),
    _case(SPIN, 0.0, "never ends, in a call", timeout_s=1),
    _case("print(7)\nraise SystemExit(3)\n", 0.0, "the right output, and an exit code that says failure", STDIN[:1]),
    _case("import subprocess\nprint(subprocess.run(['echo', '7']))\n", 0.0, "starts another program", STDIN[:1]),
    _case(ADD, None, "a row without tests", None),
]
