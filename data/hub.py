"""Rows and licence of a data set on the Hugging Face hub, by commit; whole from the cache, or streamed up to a limit.

Every way in which the hub fails (no network, offline, no such data set, split or file) is a UserError.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.json_rows import Read

_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_rows(block: Any, commit: str) -> Iterator[Read]:
    """Yield the rows of a hub block; with `streaming` the first `limit` ones, and no more are fetched."""
    import datasets

    name = block.hub.partition("@")[0]
    options = {"streaming": True} if block.streaming else {}
    try:
        loaded = datasets.load_dataset(name, block.subset, split=block.split, revision=commit, **options)
        _require_commit(loaded, block, commit)
        for row in islice(loaded, block.limit if block.streaming else None):
            yield None, dict(row)
    except UserError:
        raise
    except _failures() as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(
            f"data.hub={block.hub}, split {block.split!r}, subset {block.subset!r} could not be loaded: {reason}."
            f"{_advice(error, fetch_command(name, block.subset, commit))}"
        ) from error


def _require_commit(loaded: Any, block: Any, commit: str) -> None:
    """Refuse rows of another commit: when the hub does not answer, datasets 5.2 takes the newest commit that it has
    prepared, whatever `revision` says (`CachedDatasetModuleFactory`). Prepared files lie in a folder named by commit.
    """
    streamed = getattr(getattr(loaded, "_ex_iterable", None), "kwargs", None) or {}
    files = [file["filename"] for file in getattr(loaded, "cache_files", None) or []] or streamed.get("files") or []
    folders = {Path(file).parent.name for file in files if isinstance(file, str)}
    others = sorted(folder for folder in folders if _COMMIT.fullmatch(folder) and folder != commit)
    if others:
        name = block.hub.partition("@")[0]
        raise UserError(
            f"data.hub={block.hub}: the hub does not answer, and what was fetched here before is commit {others[0]}, "
            f"not {commit}; write {name}@{others[0]}, or fetch this commit once with a network "
            f"({fetch_command(name, block.subset, commit)})"
        )


def fetch_command(name: str, subset: str | None, revision: str) -> str:
    """The command by which a user fills the cache that `load_dataset` reads without a network."""
    what = f"'{name}'" if subset is None else f"'{name}', '{subset}'"
    return f"python -c \"import datasets; datasets.load_dataset({what}, revision='{revision}')\""


def hub_licence(name: str, commit: str) -> dict[str, str] | None:
    """Return {"name", "from"} by the data set's card at this commit; None where it names none or cannot be fetched."""
    from huggingface_hub import DatasetCard, hf_hub_download

    try:
        path = hf_hub_download(name, "README.md", repo_type="dataset", revision=commit)
        with open(path, encoding="utf-8") as file:
            found = DatasetCard(file.read()).data.get("license")
    except _failures():
        return None
    names = found if isinstance(found, list) else [found]
    return {"name": ", ".join(map(str, names)), "from": "the hub's card"} if found else None


def _failures() -> tuple[type[Exception], ...]:
    """What the hub's libraries raise: OSErrors for a missing network and data set, ValueErrors for an unknown split,
    RuntimeErrors for a data set that is a script.
    """
    import pyarrow
    import yaml
    from datasets.exceptions import DatasetsError
    from huggingface_hub.utils import httpx  # the client it uses itself: httpx2 since 2.4

    return (OSError, ValueError, RuntimeError, httpx.HTTPError, pyarrow.ArrowException, DatasetsError, yaml.YAMLError)


def _advice(error: Exception, fetch: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.utils import httpx

    if constants.HF_HUB_OFFLINE:
        return f" The hub is offline (HF_HUB_OFFLINE): with a network, fetch it once ({fetch}), or give files as path"
    if isinstance(error, ConnectionError | httpx.TransportError):
        return " Check the network, or give the files as path"
    return ""
