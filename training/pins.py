"""Hub revisions pinned to commits: a branch is resolved once, before stage 1, and written down in the run folder.

`pins.json` maps a reference as written ("org/name@main", data sets with "datasets/" before them) to the commit it
meant. Delete an entry to follow the branch again. No network is used for a commit or for what was pinned before.
Offline a branch means what it meant when the local cache last fetched it.
"""

import re
from pathlib import Path

from data.errors import UserError
from data.hub import fetch_command
from training.hub_cache import RepoKind, cached_commit, cached_commits, cached_repository
from training.record import read_json, write_json

PINS_NAME = "pins.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIX = "restore it, or remove it: branches are looked up anew, and stages whose branch has moved run again"


class Pins:
    """The pins of one run; `resolved` grows as references are asked for and is written by `save_pins`."""

    def __init__(self, resolved: dict[str, str], offline: bool) -> None:
        self.resolved = dict(resolved)
        self.offline = offline

    @classmethod
    def load(cls, run_dir: Path, offline: bool) -> "Pins":
        """Return the pins of a run folder; none if it is new. A damaged file raises UserError."""
        path = run_dir / PINS_NAME
        pinned = read_json(path, _FIX) if path.is_file() else {}
        for reference, commit in pinned.items():
            if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
                raise UserError(f"{path}: {reference} is pinned to {commit!r}, no commit of 40 hex digits; {_FIX}")
        return cls(pinned, offline)

    def model(self, reference: str) -> str:
        """Return the commit of the hub model "org/name@revision"."""
        return self._commit(reference, reference, "model")

    def dataset(self, reference: str, subset: str | None = None) -> str:
        """Return the commit of the hub data set "org/name@revision"; `subset` is for the advice to fetch it."""
        return self._commit(f"datasets/{reference}", reference, "dataset", subset)

    def _commit(self, key: str, reference: str, kind: RepoKind, subset: str | None = None) -> str:
        name, _, revision = reference.partition("@")
        if _COMMIT.fullmatch(revision):
            return revision
        if key not in self.resolved:
            self.resolved[key] = self._resolve(name, revision or "main", kind, subset)
        return self.resolved[key]

    def _resolve(self, name: str, revision: str, kind: RepoKind, subset: str | None) -> str:
        return (_from_cache if self.offline else _from_hub)(name, revision, kind, subset)


def _from_cache(name: str, revision: str, kind: RepoKind, subset: str | None) -> str:
    commit = cached_commit(kind, name, revision)
    if commit is None:
        raise UserError(
            f"{name}@{revision}: offline, and the local cache ({cached_repository(kind, name)}) does not say what "
            f"{revision} is; fetch it once with a network ({_fetch(name, revision, kind, subset)}), or "
            f"write the commit, {name}@<40 hex digits>{_known_commits(name, kind)}"
        )
    return commit


def _fetch(name: str, revision: str, kind: RepoKind, subset: str | None) -> str:
    """How a user fills the cache that an offline run reads."""
    return f"hf download {name} --revision {revision}" if kind == "model" else fetch_command(name, subset, revision)


def _known_commits(name: str, kind: RepoKind) -> str:
    known = cached_commits(kind, name)
    return f"; the cache has {', '.join(known)}" if known else ""


def _from_hub(name: str, revision: str, kind: RepoKind, subset: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # the client it uses itself: httpx2 since 2.4

    try:
        commit = HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=20).sha
    except OfflineModeIsEnabled:  # HF_HUB_OFFLINE in the environment: the user's word, as `offline: true` is
        return _from_cache(name, revision, kind, subset)
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
        cached = cached_commit(kind, name, revision)
        instead = f"; or set `offline: true` to take the one in the local cache, {cached}" if cached else ""
        raise UserError(
            f"{name}@{revision}: the hub's {kind} could not be looked up ({str(error).splitlines()[0]}); "
            f"write the commit, {name}@<40 hex digits>, or give a local path{instead}"
        ) from error
    if not commit:
        raise UserError(f"{name}@{revision}: the hub names no commit for it; write {name}@<40 hex digits>")
    return commit


def save_pins(run_dir: Path, resolved: dict[str, str]) -> None:
    """Write `pins.json` if there is anything to pin."""
    if resolved:
        write_json(run_dir / PINS_NAME, dict(sorted(resolved.items())))
