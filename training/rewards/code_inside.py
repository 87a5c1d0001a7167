"""Runs inside the sandbox, under a bare interpreter: `code_inside.py program FILE` or `code_inside.py tests FILE`.

`program` executes a program and answers questions about it: one Python expression a line on standard input, one line
{"value": ...} or {"error": ...} each on standard output. It does not know what is expected, so nothing that a program
does to this interpreter can tell it.

`tests` executes test scripts in another sandbox. The names that they use and do not define are functions of the
program: calls travel as expressions through descriptors 3 (answers) and 4 (questions) and values come back, so that
every comparison is made where the program is not. Which scripts ended without an exception goes to standard output.

Both import the standard library only, and nothing of ours.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import types

MAX_LINE = 1 << 20

TYPE_CHECKING = False  # importing typing would cost every program a few milliseconds
if TYPE_CHECKING:
    from typing import Any, TextIO


class NotALiteral(Exception):
    """A value that cannot be written as a literal."""


def encode(value: Any) -> Any:
    """Return a literal as JSON that keeps its type; subclasses of the builtin types count as these."""
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return {"float": float.__repr__(value)}
    if isinstance(value, complex):
        return {"complex": complex.__repr__(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    for many in (list, tuple, set, frozenset):
        if isinstance(value, many):
            return {many.__name__: [encode(item) for item in value]}
    raise NotALiteral(type(value).__name__)


def decode(form: Any) -> Any:
    """The value that `encode` wrote."""
    if not isinstance(form, dict):
        return form
    ((kind, content),) = form.items()
    if kind == "dict":
        return {decode(key): decode(value) for key, value in content}
    if kind in ("list", "tuple", "set", "frozenset"):
        return getattr(builtins, kind)(decode(item) for item in content)
    return bytes.fromhex(content) if kind == "bytes" else {"float": float, "complex": complex}[kind](content)


def spelling(value: Any) -> str:
    """Return a Python expression for a literal."""
    if isinstance(value, (float, complex)):
        return f"{type(value).__name__}({str(value)!r})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{spelling(key)}: {spelling(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"{type(value).__name__}([{', '.join(spelling(item) for item in value)}])"
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return repr(value)
    raise NotALiteral(f"a test gives the program a {type(value).__name__}, which is no literal")


def quiet_streams() -> tuple[TextIO, TextIO]:
    """Keep the two streams for ourselves; what a program prints goes to standard error, and it reads nothing."""
    source, sink = os.fdopen(os.dup(0), "r", encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return source, sink


def serve(path: str) -> None:
    """Execute the program, then answer each question."""
    source, sink = quiet_streams()
    module = types.ModuleType("program")
    sys.modules["program"] = module
    failed = None
    try:
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), "program.py", "exec"), module.__dict__)
    except BaseException as error:
        failed = type(error).__name__
    for line in source:
        try:
            if failed is not None:
                raise RuntimeError(f"the program ended with {failed}")
            reply = json.dumps({"value": encode(eval(json.loads(line), module.__dict__))})
        except BaseException as error:
            reply = json.dumps({"error": type(error).__name__, "text": str(error)[:200]})
        sink.write(reply + "\n")
        sink.flush()


class Remote:
    """A function of the program, which runs elsewhere."""

    def __init__(self, name: str, answers: TextIO, questions: TextIO) -> None:
        self._name, self._answers, self._questions = name, answers, questions

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        words = [*map(spelling, arguments), *(f"{name}={spelling(value)}" for name, value in named.items())]
        self._questions.write(json.dumps(f"{self._name}({', '.join(words)})") + "\n")
        self._questions.flush()
        line = self._answers.readline(MAX_LINE)
        reply = json.loads(line)
        if "error" in reply:
            kind: Any = getattr(builtins, str(reply["error"]), None)
            # StopIteration would end a loop of the test early, and an early end can look like success.
            known = isinstance(kind, type) and issubclass(kind, Exception) and kind is not StopIteration
            raise (kind if known else RuntimeError)(str(reply.get("text")))
        return decode(reply["value"])


def test(path: str) -> None:
    """Execute each script; prints a list of true and false."""
    _, sink = quiet_streams()
    answers, questions = os.fdopen(3, "r", encoding="utf-8"), os.fdopen(4, "w", encoding="utf-8")
    with open(path, encoding="utf-8") as file:
        scripts = json.load(file)
    passed = []
    for script in scripts:
        names = {"__name__": "tests", **{name: Remote(name, answers, questions) for name in script["names"]}}
        try:
            exec(compile(script["script"], "tests.py", "exec"), names)
            passed.append(True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            passed.append(False)
    json.dump(passed, sink)
    sink.close()


if __name__ == "__main__":
    {"program": serve, "tests": test}[sys.argv[1]](sys.argv[2])
