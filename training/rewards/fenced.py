"""Code blocks of a completion: what stands between ``` fences, as Markdown has them."""

import re
import textwrap
from collections.abc import Collection

_FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*([\w+#.-]*)")


def last_block(text: str, languages: Collection[str]) -> str | None:
    """Return the last closed block whose language is one of `languages` or not named; None if there is none.

    A block that is not closed was cut off and is none.
    """
    found: str | None = None
    opened: tuple[str, str] | None = None
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        fence = _FENCE.match(line)
        if opened is None:
            opened, lines = ((fence[1], fence[2].lower()) if fence else None), []
        elif fence and not fence[2] and fence[1].startswith(opened[0]) and line.strip() == fence[1]:
            if opened[1] in languages or not opened[1]:
                found = textwrap.dedent("".join(lines))
            opened = None
        else:
            lines.append(line)
    return found


def has_fence(text: str) -> bool:
    """Whether any line opens or closes a block."""
    return any(_FENCE.match(line) for line in text.splitlines())
