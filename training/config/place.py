"""Types of values that name a file or folder: a `~` in one must lead to a home folder that this machine knows."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from data.errors import UserError
from data.home import from_home


def home_is_known(path: str) -> str:
    """Return the path as it was written; ValueError where the home in it is not known."""
    try:
        from_home(path)
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error
    return path


def _with_home(path: str) -> str:
    return str(from_home(home_is_known(path))) if path.startswith("~") else path


Place = Annotated[str, AfterValidator(home_is_known)]
"""A path, or a name that may be one, kept as it was written."""
PlaceFromHome = Annotated[str, AfterValidator(_with_home)]
"""A path whose `~` is replaced when the file is read."""
