"""Rows of a `data:` block, and what identifies them: a generator, a local file, a hub data set, or an earlier
`sample` stage.

Owns reading and renaming of columns. Does not decide what the columns mean (`data.formats`) nor how many rows a
stage keeps. Blocks are duck-typed: any object with the fields of the config's DataBlock.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from data.accounting import Account
from data.errors import UserError
from data.files import read_rows
from data.generators import instances
from data.worked import completions_identity

SAMPLE_ROWS = "data.jsonl"
"""The file in which a `sample` stage leaves the rows it kept."""


@dataclass(frozen=True)
class Rows:
    """Rows as their source has them (our column names), the source's description for the record, how many there were,
    and the account: `numbers[i]` is the number of `rows[i]` in the source, which `account` names rows by.
    """

    rows: list[dict[str, Any]]
    source: dict[str, Any]
    rows_in: int
    account: Account
    numbers: list[int]

    def without(self, places: Mapping[int, str], reason: str) -> "Rows":
        """Return the rows but those at `places` (index into `rows` -> detail), which the account notes as dropped."""
        for place, detail in places.items():
            self.account.drop(self.numbers[place], reason, detail)
        kept = [place for place in range(len(self.rows)) if place not in places]
        return replace(self, rows=[self.rows[place] for place in kept], numbers=[self.numbers[place] for place in kept])


def load_rows(
    block: Any,
    seed: int,
    stage_folder: Callable[[str], Path] | None = None,
    pin: Callable[[str], str] | None = None,
) -> Rows:
    """Return the rows of `block`, columns renamed to ours; `limit` and `max_prompt_tokens` are left to the caller.

    `seed` is used by a generator that names none. `stage_folder` gives the folder of a `sample` stage, `pin` the
    commit of "org/name@revision". Raises UserError for what the user can fix: a missing or malformed file, an
    unknown column, no rows.
    """
    source = data_identity(block, seed, pin or _revision)
    if block.generator is not None:
        generator = block.generator
        if generator.rows is None:
            raise UserError("data.generator.rows is missing; say how many rows to make")
        rows = instances(generator.families, generator.rows, source["seed"], generator.completions)
    elif block.path is not None:
        rows = read_rows(Path(block.path).expanduser())
        source = {"path": block.path, **source}
    elif block.hub is not None:
        rows = _hub_rows(block, source["commit"])
        source = {"split": block.split, "subset": block.subset, **source}
    else:
        assert stage_folder is not None, "a stage's rows were asked for without a way to find its folder"
        rows = read_rows(stage_folder(block.stage) / SAMPLE_ROWS)
        source = {"stage": block.stage}
    if not rows:
        raise UserError(f"{_named(block)} has no rows; give data with at least one")
    account = Account(_named(block))
    account.origin.begin(_named(block))
    numbers = [account.origin.add() for _ in rows]
    return Rows(rename_columns(rows, block.columns, _named(block)), source, len(rows), account, numbers)


def data_identity(
    block: Any, seed: int, pin: Callable[[str], str], file_hash: Callable[[Path], str] | None = None
) -> dict[str, Any]:
    """Return what decides the block's rows, as plain JSON: never a path or a time.

    `file_hash` gives a file's sha256 (for a cached one); the default reads the file. A stage's rows are identified
    by its fingerprint, which the caller holds: {} is returned.
    """
    if block.generator is not None:
        generator = block.generator
        return {
            "generator": generator.name,
            "families": {family: dict(parameters) for family, parameters in generator.families.items()},
            "rows": generator.rows,
            "seed": seed if generator.seed is None else generator.seed,
            "completions": completions_identity(generator.completions),
            "package": f"reasoning-gym=={metadata.version('reasoning-gym')}",
        }
    if block.path is not None:
        return {"sha256": (file_hash or _file_sha256)(_existing(Path(block.path).expanduser()))}
    if block.hub is not None:
        return {"hub": block.hub.partition("@")[0], "commit": pin(block.hub)}
    return {}


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


def _hub_rows(block: Any, commit: str) -> list[dict[str, Any]]:
    import datasets

    name = block.hub.partition("@")[0]
    try:
        loaded = datasets.load_dataset(name, block.subset, split=block.split, revision=commit)
    except (OSError, ValueError) as error:
        # DatasetNotFoundError and a missing network are OSErrors; an unknown split or subset is a ValueError.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"data.hub={block.hub}, split {block.split!r}, subset {block.subset!r} could not be loaded: {reason}"
        ) from error
    return [dict(row) for row in loaded]


def _revision(reference: str) -> str:
    return reference.partition("@")[2] or "main"


def _named(block: Any) -> str:
    if block.generator is not None:
        return f"the generator {block.generator.name}"
    if block.path is not None:
        return str(block.path)
    return str(block.hub) if block.hub is not None else f"stage:{block.stage}"


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"data.path={path} is not a file (looked from {Path.cwd()}); give an existing one")
    return path


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
