"""What a card may tell of places: names, not the folders of the machine that made the model."""

import re
import shlex
from pathlib import PurePosixPath
from typing import Any

_OUTSIDE = re.compile(r"(?:file://)?(?:~[\w.-]*|\.\.)?/")
"""How a path begins that leads out of the folder one stands in."""

_INSIDE_A_WORD = re.compile(rf"(?<![^\s=,\[{{\"']){_OUTSIDE.pattern}[^\s,\]}}\"']*")


def name_of(path: str) -> str:
    """A path's last part, where it leads out of the folder one stands in; any other text as it is."""
    if not _OUTSIDE.match(path) or "\n" in path:
        return path
    return PurePosixPath(path.removeprefix("file://")).name or path


def nameless(value: Any) -> Any:
    """A JSON value whose texts that are paths are names."""
    if isinstance(value, dict):
        return {key: nameless(one) for key, one in value.items()}
    if isinstance(value, list):
        return [nameless(one) for one in value]
    return name_of(value) if isinstance(value, str) else value


def command_of(line: str) -> str:
    """A line of a shell with names in place of paths, those inside `key=value` too."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that does not end
        words = line.split()
    return shlex.join(_word(word) for word in words)


def _word(word: str) -> str:
    key, sign, value = word.partition("=")
    if sign and _OUTSIDE.match(value):
        return f"{key}={name_of(value)}"
    if _OUTSIDE.match(word):
        return name_of(word)
    return _INSIDE_A_WORD.sub(lambda found: name_of(found[0]), word)
