"""Rewards of a user, for the tests: good ones, and ones that fail in every way a worker must survive."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ANSWERS = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0}
HALVES = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}


def own(name: str, **more: Any) -> dict[str, Any]:
    """An entry of `rewards:` for the function of that name in this file."""
    return {"name": name, "callable": f"tests.own_rewards:{name}", "version": 1, **more}


def words(completions: list[str], prompts: list[str]) -> list[float | None]:
    """The number of words; takes no columns."""
    return [float(len(text.split())) for text in completions]


def longer_than(completions: list[str], prompts: list[str], label: list[int], margin: int = 0) -> list[float | None]:
    """Needs the column `label`, takes the parameter `margin`."""
    return [float(len(text) > least + margin) for text, least in zip(completions, label, strict=True)]


def picky(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    """Cannot score some completions."""
    return [1 / (len(text) % 3) for text in completions]


def first(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    return [ANSWERS[text] for text in completions]


def second(completions: list[str], prompts: list[str], raising: str = "", **columns: Any) -> list[float | None]:
    if raising in completions:
        raise ZeroDivisionError("cannot score this")
    return [HALVES[text] for text in completions]


def broken(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    raise ZeroDivisionError("a bug in the reward")


def breaks(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    if any("bad" in completion for completion in completions):
        raise KeyError("bad input")
    return [1.0] * len(completions)


def probe(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    """Notes in its error, or its value, that it got the prompt's text and the row's columns and nothing else."""
    assert prompts == ["3 + 4 ="]
    assert set(columns) == {"answer", "completion_tokens"}
    if "boom" in completions:
        raise ValueError("cannot score this")
    return [0.5] * len(completions)


def returns(completions: list[str], prompts: list[str], **columns: Any) -> list[Any]:
    """Returns what the completion says."""
    answers = {"nan": [float("nan")], "inf": [float("inf")], "text": ["no number"], "none": [None], "nothing": []}
    return answers[completions[0]]


def hostile(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    """Does to its worker what the completion says; 1.0 where it survives that."""
    what, _, argument = completions[0].partition(" ")
    ACTS[what](argument)
    return [1.0]


def constant(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    return [0.5] * len(completions)


def nothing(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    return [None] * len(completions)


def torch_is_loaded(completions: list[str], prompts: list[str], **columns: Any) -> list[float | None]:
    return [float("torch" in sys.modules)] * len(completions)


def _sleep(argument: str) -> None:
    time.sleep(1000)


def _child(argument: str) -> None:
    """Start a program that outlives the worker unless it is killed too; its pid goes into a file."""
    Path(argument).write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
    time.sleep(1000)


def _print(argument: str) -> None:
    print('[0, 0, 99.0, null]\n{"ready": true}')
    os.write(1, b"[0, 0, 99.0, null]\n")


def _deaf(argument: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


def _interrupted(argument: str) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        os.kill(os.getpid(), number)


ACTS: dict[str, Any] = {
    "fine": lambda argument: None,
    "sleep": _sleep,
    "spin": lambda argument: all(iter(lambda: True, False)),
    "deaf": _deaf,
    "exit": lambda argument: sys.exit(0),
    "vanish": lambda argument: os._exit(0),
    "segfault": lambda argument: ctypes.string_at(0),
    "memory": lambda argument: bytearray(int(argument)),
    "recurse": lambda argument: _recurse(),
    "print": _print,
    "child": _child,
    "signals": _interrupted,
    "close": lambda argument: os.closerange(3, 64),
}


def _recurse() -> None:
    _recurse()
