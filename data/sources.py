"""Rows of a `data:` block, and what identifies them: a generator, files, a hub data set, an earlier `sample` stage, or
a function of the user.

Owns reading, the check that every row is plain JSON, and the renaming of columns. Does not decide what the columns
mean (`data.formats`) nor how many rows a stage keeps. Blocks are duck-typed: any object with the fields of the
config's DataBlock.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from data.accounting import Account, Rows
from data.errors import UserError
from data.files import SAMPLE_ROWS, data_files, file_rows
from data.formats.table import FORMATS_VERSION
from data.generators import instances
from data.home import from_home
from data.hub import hub_licence, hub_rows
from data.json_rows import Read
from data.licences import licence_beside
from data.own_rows import callable_identity, callable_rows
from data.row_checks import BadRow, plain_row
from data.tool_conversations import TOOL_CONVERSATIONS_VERSION
from data.worked import WORKED_VERSION

__all__ = ["SAMPLE_ROWS", "Rows", "data_identity", "load_rows", "rename_columns"]

Part = tuple[str, Iterable[Read]]
"""What messages call a file or data set, and its rows."""


def load_rows(
    block: Any,
    seed: int,
    stage_folder: Callable[[str], Path] | None = None,
    pin: Callable[[str], str] | None = None,
) -> Rows:
    """Return the rows of `block`, columns renamed to ours; `limit` and `max_prompt_tokens` are left to the caller.

    `seed` is used by a generator that names none. `stage_folder` gives the folder of a `sample` stage, `pin` the
    commit of "org/name@revision". Bad rows are in the account of what is returned. Raises UserError for what the user
    can fix: a missing or malformed file, more bad rows than `max_bad_rows`, an unknown column, no rows.
    """
    account = Account(_named(block), block.max_bad_rows)
    identity = data_identity(block, seed, pin or _revision)
    source = {**_described(block), **identity}
    rows, numbers = _usable(_parts(block, identity, stage_folder), account)
    account.check_share()
    if not rows:
        raise UserError(f"{_named(block)} has no rows; give data with at least one")
    licence = _licence(block, identity)
    if licence is not None:
        source["license"] = licence
    return Rows(rename_columns(rows, block.columns, _named(block)), source, account.rows_in, account, numbers)


def _usable(parts: Iterator[Part], account: Account) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the rows that are plain JSON and their numbers; the others go to the account."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for name, reads in parts:
        account.origin.begin(name)
        for line, row in reads:
            number = account.origin.add(line)
            try:
                if isinstance(row, BadRow):
                    raise row
                rows.append(plain_row(row))
                numbers.append(number)
            except BadRow as error:
                account.bad(number, error.reason, error.detail)
    return rows, numbers


def _parts(block: Any, identity: dict[str, Any], stage_folder: Callable[[str], Path] | None) -> Iterator[Part]:
    if block.generator is not None:
        generator = block.generator
        if generator.rows is None:
            raise UserError("data.generator.rows is missing; say how many rows to make")
        made = instances(generator.families, generator.rows, identity["seed"], generator.completions)
        yield _named(block), ((None, row) for row in made)
    elif block.path is not None:
        for path in data_files(from_home(block.path)):
            yield str(path), file_rows(path, str(path))
    elif block.hub is not None:
        yield _named(block), hub_rows(block, identity["commit"])
    elif block.callable is not None:
        yield _named(block), callable_rows(block.callable, block.arguments)
    else:
        assert stage_folder is not None, "a stage's rows were asked for without a way to find its folder"
        path = stage_folder(block.stage) / SAMPLE_ROWS
        yield str(path), file_rows(path, str(path))


def data_identity(
    block: Any, seed: int, pin: Callable[[str], str], file_hash: Callable[[Path], str] | None = None
) -> dict[str, Any]:
    """Return what decides the block's rows, as plain JSON: never a path or a time.

    `file_hash` gives a file's sha256 (for a cached one); the default reads the file. A stage's rows are identified
    by its fingerprint, which the caller holds: {} is returned. Rows of foreign formats depend on our reading of them,
    hence FORMATS_VERSION. `max_bad_rows`, `streaming` and `license` change no row of a stage that runs.
    """
    declared = {} if block.format is None else {"format": block.format}
    if block.generator is not None:
        generator = block.generator
        return {
            "generator": generator.name,
            "families": {family: dict(parameters) for family, parameters in generator.families.items()},
            "rows": generator.rows,
            "seed": seed if generator.seed is None else generator.seed,
            "completions": completions_identity(generator.completions),
            "package": f"reasoning-gym=={metadata.version('reasoning-gym')}",
            **declared,
        }
    if block.stage is not None:
        return declared
    return {**_foreign(block, pin, file_hash or _file_sha256), "formats": FORMATS_VERSION, **declared}


def completions_identity(completions: str | None) -> str | None:
    """Name what a generator writes as completions, with the version of its text."""
    versions = {"worked": WORKED_VERSION, "tool_calls": TOOL_CONVERSATIONS_VERSION}
    return f"{completions}/{versions[completions]}" if completions in versions else completions


def _foreign(block: Any, pin: Callable[[str], str], file_hash: Callable[[Path], str]) -> dict[str, Any]:
    """The identity of rows that others made. A folder is its files' hashes in the order of their names."""
    if block.path is not None:
        path = from_home(block.path)
        hashes = [file_hash(file) for file in data_files(path)]
        return {"files": hashes} if path.is_dir() else {"sha256": hashes[0]}
    if block.hub is not None:
        return {"hub": block.hub.partition("@")[0], "commit": pin(block.hub)}
    return callable_identity(block.callable, block.version, block.arguments)


def rename_columns(rows: list[dict[str, Any]], columns: dict[str, str], named: str) -> list[dict[str, Any]]:
    """Return rows whose columns bear our names (`columns` maps ours to theirs); UserError names a column that is not
    there.
    """
    if not columns:
        return rows
    found = {column for row in rows for column in row}
    for ours, theirs in columns.items():
        if theirs not in found:
            raise UserError(
                f"data.columns.{ours}={theirs!r} is no column of {named}; found: {', '.join(sorted(found))}"
            )
    ours_of = {theirs: ours for ours, theirs in columns.items()}
    # A column that already has the name we give to another one would be overwritten by chance of order: ours wins.
    return [
        {
            **{name: value for name, value in row.items() if name not in ours_of and name not in columns},
            **{ours: row.get(theirs) for ours, theirs in columns.items()},
        }
        for row in rows
    ]


def _described(block: Any) -> dict[str, Any]:
    """What the record says of a source beside its identity: where it was found."""
    if block.path is not None:
        return {"path": block.path}
    if block.hub is not None:
        return {"split": block.split, "subset": block.subset}
    if block.callable is not None:
        return {"callable": block.callable}
    return {} if block.stage is None else {"stage": block.stage}


def _licence(block: Any, identity: dict[str, Any]) -> dict[str, str] | None:
    if block.license is not None:
        return {"name": block.license, "from": "the config"}
    if block.path is not None:
        path = from_home(block.path)
        return licence_beside(data_files(path), path if path.is_dir() else None)
    return hub_licence(identity["hub"], identity["commit"]) if block.hub is not None else None


def _revision(reference: str) -> str:
    return reference.partition("@")[2] or "main"


def _named(block: Any) -> str:
    if block.generator is not None:
        return f"the generator {block.generator.name}"
    if block.path is not None:
        return str(block.path)
    if block.hub is not None:
        return str(block.hub)
    return str(block.callable) if block.callable is not None else f"stage:{block.stage}"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
