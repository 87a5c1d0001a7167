"""Text files that are there whole or not at all, for their readers; they need not outlive a power cut."""

import os
import platform
from pathlib import Path

from data.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Write a text in one move, in UTF-8, replacing an older one; its folder is made where there is none.
    Raises UserError where the path is a folder.

    The name it is written under is this process's own, on every machine that sees the folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
