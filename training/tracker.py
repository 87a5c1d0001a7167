"""Mirrors metrics and completions to Weights & Biases; the one module that knows the package, imported late.

The truth of a run is metrics.jsonl and samples.jsonl in the stage folder; this is a copy for people. It never asks a
question, never holds up a run because a server is away, and sends neither code, git remotes nor console output (each
may carry secrets). Only rank 0 opens a tracker.
"""

import os
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from data.errors import UserError

PROBE_TIMEOUT_S = 5
INIT_TIMEOUT_S = 20
FINISH_TIMEOUT_S = 60
DEFAULT_PROJECT = "posttrain"
RUN_ID_NAME = "wandb_run_id"


class Tracker(Protocol):
    """What a stage tells a tracker."""

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Record the metrics of one optimizer step; values that are None are left out."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Record a table, e.g. the completions of a rollout round."""

    def summary(self, values: dict[str, Any]) -> None:
        """Record final values of the stage; nested dicts become dotted names."""

    def finish(self) -> None:
        """Close the run; waits a bounded time for what is still being sent."""


class NullTracker:
    """Tracks nothing; metrics.jsonl holds everything all the same."""

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Do nothing."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Do nothing."""

    def summary(self, values: dict[str, Any]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class WandbTracker:
    """A wandb run. Steps are sent as the metric `step`, so that a resumed stage may log a step a second time."""

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric("step")
        run.define_metric("*", step_metric="step")

    @property
    def offline(self) -> bool:
        """Whether the run only goes to disk."""
        return bool(self._run.offline)

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Record the metrics of one optimizer step; values that are None are left out."""
        self._run.log({**{name: value for name, value in metrics.items() if value is not None}, "step": step})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Record a table; mixed cell types are allowed, since a reward may be None."""
        import wandb

        data = [list(row) for row in rows]
        self._run.log({name: wandb.Table(columns=list(columns), data=data, allow_mixed_types=True), "step": step})

    def summary(self, values: dict[str, Any]) -> None:
        """Record final values of the stage; nested dicts become dotted names."""
        self._run.summary.update(values)

    def finish(self) -> None:
        """Close the run, waiting at most FINISH_TIMEOUT_S seconds for what is still being sent.

        wandb's service may still be writing the offline file when its own finish returns; teardown waits for it.
        """
        import wandb

        self._run.finish()
        wandb.teardown()


def open_tracker(
    runtime: Any,
    run_name: str,
    stage_name: str,
    kind: str,
    config: dict[str, Any],
    folder: Path,
    offline: bool = False,
) -> Tracker:
    """Open the tracker of one stage under `folder`: wandb group is the run's name, wandb name the stage's.

    `runtime` is training.config.Runtime. Its `tracker_mode` `auto` is online with a WANDB_API_KEY and offline without
    one; WANDB_MODE `offline` or `disabled` in the environment decides when set. `offline=True` (the pipeline's own key)
    forbids the network. When the server cannot be reached or refuses the key the run goes on offline, with one message.
    Raises UserError for `online` without a key or in an offline pipeline.
    """
    mode = "disabled" if runtime.tracker == "none" else wandb_mode(runtime.tracker_mode, offline)
    if mode == "disabled":
        return NullTracker()
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    arguments: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT,
        "group": run_name,
        "name": stage_name,
        "job_type": kind,
        "config": config,
        "dir": str(folder),
        "id": _run_id(folder),
    }
    folder.mkdir(parents=True, exist_ok=True)
    if mode == "online":
        reason = _why_server_is_away(wandb.setup().settings.base_url)
        if reason is None:
            try:
                return WandbTracker(wandb.init(**arguments, resume="allow", settings=_settings("online")))
            except wandb.errors.Error as error:
                wandb.teardown()
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        where = folder / "wandb"
        print(f"wandb: {reason}; tracking offline under {where} (send it later: wandb sync)", flush=True)
    return WandbTracker(wandb.init(**arguments, settings=_settings("offline")))


def wandb_mode(tracker_mode: str, offline: bool = False) -> str:
    """`online`, `offline` or `disabled` for a `runtime.tracker_mode` in this environment.

    Raises UserError where `online` is asked for and cannot be: without WANDB_API_KEY (wandb would ask at the terminal),
    or in a pipeline with `offline: true`.
    """
    has_key = bool(os.environ.get("WANDB_API_KEY"))
    if tracker_mode == "auto":
        asked = os.environ.get("WANDB_MODE", "")
        if asked in ("offline", "disabled"):
            return asked
        return "online" if has_key and not offline else "offline"
    if tracker_mode == "online" and offline:
        raise UserError("runtime.tracker_mode=online contradicts offline: true; use auto, offline or disabled")
    if tracker_mode == "online" and not has_key:
        raise UserError(
            "runtime.tracker_mode=online needs the environment variable WANDB_API_KEY; set it, or use auto or offline"
        )
    return tracker_mode


def _why_server_is_away(base_url: str) -> str | None:
    """Why the wandb server cannot be reached, or None when anything answers there.

    Asked first because wandb.init retries until its timeout even when the connection is refused. A certificate this
    Python does not trust is left for wandb to judge.
    """
    try:
        urllib.request.urlopen(base_url, timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        reason = getattr(error, "reason", error)
        return None if isinstance(reason, ssl.SSLError) else f"no answer from {urlsplit(base_url).hostname} ({reason})"
    return None


def _settings(mode: Literal["online", "offline"]) -> Any:
    """Quiet, bounded in time, and without anything that could carry a secret: code, git remotes, packages, console."""
    import wandb

    return wandb.Settings(
        mode=mode,
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_save_requirements=False,
        init_timeout=INIT_TIMEOUT_S,
        login_timeout=INIT_TIMEOUT_S,
        finish_timeout=FINISH_TIMEOUT_S,
    )


def _run_id(folder: Path) -> str:
    """The wandb id of this stage folder, made once, so that a resumed stage goes on in the same wandb run."""
    path = folder / RUN_ID_NAME
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12] + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
