"""What a stage tells a tracker, and which one it gets; each package has a module of its own, imported late.

The truth of a run is metrics.jsonl and samples.jsonl in the stage folder; a tracker has a copy for people. It asks
no question and never holds up a run because a server is away. Only rank 0 opens one.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from data.errors import UserError
from training.verl_names import verl_aliases

Outcome = Literal["done", "preempted", "failed"]
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "mlflow": ("mlflow",)}
"""Tracker -> the packages of which one must be installed; wandb is among our own dependencies."""
SERVERS = {"trackio": ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"), "mlflow": ("MLFLOW_TRACKING_URI",)}
"""Tracker -> the variables of the environment that may name a server."""
LOCAL_SCHEMES, REMOTE_NAMES = ("", "file", "sqlite"), ("databricks", "databricks-uc", "uc")
"""Places that MLflow keeps on this machine, and those that are none though they look like a folder's name."""


class Tracker(Protocol):
    """What a stage tells a tracker."""

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Record the metrics of one optimizer step; values that are None are left out."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Record a table, e.g. the completions of a rollout round."""

    def alert(self, title: str, text: str) -> None:
        """Tell people of something that went wrong, e.g. an alarm."""

    def summary(self, values: dict[str, Any]) -> None:
        """Record final values of the stage; nested dicts become dotted names."""

    def artifacts(self, folder: Path, record: dict[str, Any], parents: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        """Record what the stage left and what it was made from: stage folders with their records."""

    def finish(self, outcome: Outcome = "done") -> None:
        """Close the run; waits a bounded time for what is still being sent."""


class NullTracker:
    """Tracks nothing; metrics.jsonl holds everything all the same."""

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Do nothing."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Do nothing."""

    def alert(self, title: str, text: str) -> None:
        """Do nothing."""

    def summary(self, values: dict[str, Any]) -> None:
        """Do nothing."""

    def artifacts(self, folder: Path, record: dict[str, Any], parents: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome = "done") -> None:
        """Do nothing."""


class WithVerlNames(NullTracker):
    """Passes everything on to `tracker`, metrics under verl's names as well."""

    def __init__(self, tracker: Tracker, processes: int) -> None:
        self._tracker, self._processes = tracker, processes
        for name in ("table", "alert", "summary", "artifacts", "finish"):
            setattr(self, name, getattr(tracker, name))

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Record the metrics with their aliases."""
        self._tracker.log({**metrics, **verl_aliases(metrics, step, self._processes)}, step)


def require_tracker(runtime: Any, offline: bool = False, environment: Mapping[str, str] = os.environ) -> None:
    """Raise UserError with the pip line where the package of `runtime.tracker` is not installed, and where an offline
    pipeline's tracker would send to a server that the environment names."""
    packages = PACKAGES.get(runtime.tracker, ())
    if packages and not any(importlib.util.find_spec(package) for package in packages):
        raise UserError(
            f"runtime.tracker: {runtime.tracker} needs the package {packages[0]}, which is not installed; "
            f"pip install {packages[0]}, or choose wandb or none"
        )
    for name in SERVERS.get(runtime.tracker, ()) if offline else ():
        place = environment.get(name, "").strip()
        local = runtime.tracker == "mlflow" and place not in REMOTE_NAMES and urlsplit(place).scheme in LOCAL_SCHEMES
        if place and not local:
            fix = "unset it, or give a folder" if runtime.tracker == "mlflow" else "unset it"
            raise UserError(f"the environment's {name} ({place.rpartition('@')[2]}) contradicts offline: true; {fix}")


def open_tracker(
    runtime: Any,
    run_name: str,
    stage_name: str,
    kind: str,
    config: dict[str, Any],
    folder: Path,
    offline: bool = False,
) -> Tracker:
    """Open the tracker of one stage under `folder`: the group is the run's name, the name the stage's.

    `runtime` is training.config.Runtime; `offline=True` (the pipeline's own key) forbids the network. Raises UserError
    where the tracker's package is missing or `tracker_mode` cannot be met.
    """
    if runtime.tracker == "none" or runtime.tracker_mode == "disabled":
        return NullTracker()
    require_tracker(runtime, offline)
    tracker: Tracker | None
    if runtime.tracker == "wandb":
        from training.wandb_tracker import open_wandb

        tracker = open_wandb(runtime, run_name, stage_name, kind, config, folder, offline)
    else:
        from training.reporting_tracker import ReportingTracker

        tracker = ReportingTracker(runtime.tracker, run_name, stage_name, config, folder)
    if tracker is None:
        return NullTracker()
    return WithVerlNames(tracker, runtime.processes) if runtime.verl_names and kind == "grpo" else tracker
