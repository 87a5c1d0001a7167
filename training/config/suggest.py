"""The nearest right word to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(wrong: str, right: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the nearest right word, or nothing when none is near."""
    matches = difflib.get_close_matches(str(wrong), list(right), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]}?)" if matches else ""
