"""The tests of a row of code data: what `tests` may hold, and what each kind asks of the program.

All kinds are judged where the program is not: it learns inputs, never what is expected.

1. {"stdin": "3 4\\n", "stdout": "7\\n"}: the whole program, its standard output and exit code 0.
2. {"call": "add(3, 4)", "returns": "7"}: an expression in the program's names, and a literal.
   {"call": "add", "args": [3, 4], "kwargs": {}, "returns": 7}: the same, in JSON's types.
3. {"script": "assert add(3, 4) == 7"}, or the text alone: Python that calls functions of the program.

A row holds a list of them, such a list as JSON text, or {"inputs": [...], "outputs": [...]} (with "fn_name": calls).
"""

import ast
import builtins
import json
from dataclasses import dataclass
from typing import Any

from training.rewards.literals import parse_literal

KINDS = "stdin and stdout, call and returns, or script"
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class StdinTest:
    """A whole program: its standard input and the output that is right."""

    stdin: str
    stdout: str


@dataclass(frozen=True)
class CallTest:
    """An expression, as Python text, and the value that is right."""

    expression: str
    returns: Any


@dataclass(frozen=True)
class ScriptTest:
    """Python that raises unless the program is right; `names` are the program's functions that it calls."""

    script: str
    names: tuple[str, ...]


Test = StdinTest | CallTest | ScriptTest


def parse_tests(value: Any) -> list[Test]:
    """Return the tests of a row; ValueError says what is wrong with them."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(
                f"tests: {value[:80]!r} is no JSON; give a list of tests, or such a list as JSON"
            ) from None
    if isinstance(value, dict) and {"inputs", "outputs"} <= value.keys():
        value = _from_columns(value)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"tests: {str(value)[:80]!r} is not accepted; give a list with at least one test")
    return [_parse(each) for each in value]


def _from_columns(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The form of APPS, TACO and LiveCodeBench: inputs and outputs side by side."""
    pairs = list(zip(value["inputs"], value["outputs"], strict=True))
    if value.get("fn_name"):
        return [{"call": value["fn_name"], "args": given, "returns": wanted} for given, wanted in pairs]
    return [{"stdin": _lines(given), "stdout": _lines(wanted)} for given, wanted in pairs]


def _lines(text: Any) -> str:
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)


def _parse(test: Any) -> Test:
    if isinstance(test, str):
        test = {"script": test}
    # Tables give every row the columns of all rows: what is null is not there.
    given = {name: value for name, value in test.items() if value is not None or name == "returns"}
    if {"stdin", "stdout"} <= given.keys():
        return StdinTest(str(given["stdin"]), str(given["stdout"]))
    if "script" in given:
        return ScriptTest(given["script"], _foreign_names(given["script"]))
    if "call" in given and "args" in given:
        return CallTest(_call(given["call"], given["args"], given.get("kwargs") or {}), _plain(given.get("returns")))
    if "call" in given and isinstance(given.get("returns"), str):
        return CallTest(_expression(given["call"]), parse_literal(given["returns"]))
    raise ValueError(f"tests: {str(test)[:80]!r} is not accepted; a test has {KINDS}")


def _call(name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    words = [*map(_spelling, args), *(f"{key}={_spelling(value)}" for key, value in kwargs.items())]
    return _expression(f"{name}({', '.join(words)})")


def _spelling(value: Any) -> str:
    return f"float({str(value)!r})" if isinstance(value, float) else repr(_plain(value))


def _plain(value: Any) -> Any:
    """Refuse what is not JSON's, so that its repr is an expression."""
    json.dumps(value)
    return value


def _expression(text: str) -> str:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"tests: call {text[:80]!r} is no Python expression: {error.msg}") from None
    return text


def _foreign_names(script: str) -> tuple[str, ...]:
    """The names that a script uses and neither defines nor finds among Python's own."""
    try:
        nodes = list(ast.walk(ast.parse(script)))
    except SyntaxError as error:
        raise ValueError(f"tests: the script {script[:80]!r} is no Python: {error.msg}") from None
    names = [node for node in nodes if isinstance(node, ast.Name)]
    defined = {node.id for node in names if not isinstance(node.ctx, ast.Load)} | set(dir(builtins)) | {"__name__"}
    defined |= {node.name for node in nodes if isinstance(node, _SCOPES)}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    defined |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    foreign = {node.id for node in names} - defined
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in foreign:
            raise ValueError(
                f"tests: the script uses {node.value.id}.{node.attr}, but only calls of functions can leave "
                'its sandbox; write {"call": ..., "returns": ...}, or import the module'
            )
    return tuple(sorted(foreign))
