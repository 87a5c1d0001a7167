"""Rows from a function of the user: `callable: package.module:function`, found in the working directory or installed.

It is identified by the sha256 of its module's file and by the version that the config declares: raise the version
when something the file does not show has changed (another module, a table it reads). The file is found without
importing it, so that `posttrain plan` runs no user code.
"""

import ast
import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.json_rows import Read
from data.row_checks import BadRow


def source_file(reference: str) -> Path:
    """Return the file of "package.module:function"; UserError if there is none, or no such function at its top."""
    module, _, function = reference.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), function]):
        raise UserError(f'data.callable={reference!r} must be "package.module:function"')
    places: list[str] | None = [*sys.path, str(Path.cwd())]
    origin, name = None, ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, places) if places is not None else None
        if spec is None:
            raise UserError(f"data.callable={reference}: there is no module {name} (looked in {Path.cwd()} too)")
        origin, places = spec.origin, list(spec.submodule_search_locations or []) or None
    if origin is None or not origin.endswith(".py"):
        raise UserError(f"data.callable={reference}: {module} is no Python file; give the module with the function")
    path = Path(origin)
    _check_function(path, reference, function)
    return path


def callable_identity(reference: str, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies the rows of a callable: the hash of its source, its version, its arguments."""
    digest = hashlib.sha256(source_file(reference).read_bytes()).hexdigest()
    return {"callable_sha256": digest, "version": version, "arguments": dict(arguments)}


def callable_rows(reference: str, arguments: Mapping[str, Any]) -> Iterator[Read]:
    """Yield what the function returns for `arguments`; what it raises is its own and travels."""
    module, _, name = reference.partition(":")
    path = source_file(reference)
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"data.callable={reference}: {path} cannot be imported: {error}") from error
    if loaded.__file__ is None or Path(loaded.__file__).resolve() != path.resolve():
        raise UserError(f"data.callable={reference}: {module} is loaded from {loaded.__file__}, not from {path}")
    made = getattr(loaded, name)(**arguments)
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
        raise UserError(f"data.callable={reference} returned a {type(made).__name__}; it must return or yield rows")
    for row in made:
        if isinstance(row, Mapping):
            yield None, dict(row)
        else:
            yield None, BadRow("not_an_object", f"a {type(row).__name__}; every row must be a mapping")


def _check_function(path: Path, reference: str, function: str) -> None:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UserError(f"data.callable={reference}: {path} is not Python: {error}") from error
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in defined:
        raise UserError(
            f"data.callable={reference}: {path} defines no function {function} at its top level; "
            f"it has {', '.join(defined) or 'none'}"
        )
