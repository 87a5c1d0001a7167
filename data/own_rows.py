"""Rows from a function of the user: `callable: package.module:function` (`data.own_functions` finds it).

They are identified by the sha256 of its module's file, the version that the config declares and the arguments: raise
the version when something the file does not show has changed (another module, a table it reads).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data.errors import UserError
from data.json_rows import Read
from data.own_functions import load_function, source_sha256
from data.row_checks import BadRow

KEY = "data.callable"


def callable_identity(reference: str, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies the rows of a callable: the hash of its source, its version, its arguments."""
    digest = source_sha256(reference, KEY)
    return {"callable_sha256": digest, "version": version, "arguments": dict(arguments)}


def callable_rows(reference: str, arguments: Mapping[str, Any]) -> Iterator[Read]:
    """Yield what the function returns for `arguments`; what it raises is its own and travels."""
    made = load_function(reference, KEY)(**arguments)
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
        raise UserError(f"{KEY}={reference} returned a {type(made).__name__}; it must return or yield rows")
    for row in made:
        if isinstance(row, Mapping):
            yield None, dict(row)
        else:
            yield None, BadRow("not_an_object", f"a {type(row).__name__}; every row must be a mapping")
