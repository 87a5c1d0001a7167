"""`~` and `~name` at the start of a path, as a shell has them: the one place where they become home folders.

The config refuses an unknown home with file:line and key (`training.config.place`); whoever opens a file comes here.
"""

import os
from pathlib import Path

from data.errors import UserError


def from_home(path: str | os.PathLike[str]) -> Path:
    """Return the path with a leading `~` or `~name` replaced; UserError where this machine knows no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        whose = Path(path).parts[0].removeprefix("~")
        unknown = f"no user {whose} is known on this machine" if whose else "no home folder is known for ~; set HOME"
        raise UserError(f"{path}: {unknown}; write the path in full, or ./{path} for a name that begins so") from error
