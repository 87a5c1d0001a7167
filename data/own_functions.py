"""A function of the user, "package.module:function": found in the working directory or installed, loaded when used.

The file is found and read without importing it, so that `posttrain plan` runs no user code. It is identified by the
sha256 of its module's file; what the file does not show, the version beside it in the config must tell.
"""

import ast
import hashlib
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from data.errors import UserError


def source_file(reference: str, key: str, or_class: bool = False) -> Path:
    """Return the file of "package.module:function"; UserError if there is none, or no such function at its top.

    `or_class` admits a class as well. `key` is the config key that holds `reference`, for messages.
    """
    module, _, function = reference.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), function]):
        raise UserError(f'{key}={reference!r} must be "package.module:function"')
    places: list[str] | None = [*sys.path, str(Path.cwd())]
    origin, name = None, ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, places) if places is not None else None
        if spec is None:
            raise UserError(f"{key}={reference}: there is no module {name} (looked in {Path.cwd()} too)")
        origin, places = spec.origin, list(spec.submodule_search_locations or []) or None
    if origin is None or not origin.endswith(".py"):
        raise UserError(f"{key}={reference}: {module} is no Python file; give the module with the function")
    path = Path(origin)
    _check_function(path, reference, function, key, or_class)
    return path


def source_sha256(reference: str, key: str, or_class: bool = False) -> str:
    """Return the sha256 of the function's module, by which it is identified."""
    return hashlib.sha256(source_file(reference, key, or_class).read_bytes()).hexdigest()


def load_function(reference: str, key: str, or_class: bool = False) -> Callable[..., Any]:
    """Import the module and return the function; UserError if it cannot be imported or another one is found."""
    module, _, name = reference.partition(":")
    path = source_file(reference, key, or_class)
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{key}={reference}: {path} cannot be imported: {error}") from error
    if loaded.__file__ is None or Path(loaded.__file__).resolve() != path.resolve():
        raise UserError(f"{key}={reference}: {module} is loaded from {loaded.__file__}, not from {path}")
    function: Callable[..., Any] = getattr(loaded, name)
    return function


def _check_function(path: Path, reference: str, function: str, key: str, or_class: bool) -> None:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{key}={reference}: {path} is not Python: {error}") from error
    admitted = (ast.FunctionDef, ast.ClassDef) if or_class else (ast.FunctionDef,)
    defined = [node.name for node in tree.body if isinstance(node, admitted)]
    if function not in defined:
        raise UserError(
            f"{key}={reference}: {path} defines no {'class or ' * or_class}function {function} at its top level; "
            f"it has {', '.join(defined) or 'none'}"
        )
