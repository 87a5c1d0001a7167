"""Weights & Biases: the one module that knows how a stage becomes a wandb run.

A pipeline run is a group, a stage a run in it, resumed under the same id. It sends neither code, git remotes nor
console output (each may carry secrets), and asks nothing.
"""

import os
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from data.errors import UserError
from training.tracker import Outcome
from training.wandb_artifacts import input_artifacts, output_artifact

PROBE_TIMEOUT_S = 5
INIT_TIMEOUT_S = 20
FINISH_TIMEOUT_S = 60
DEFAULT_PROJECT = "posttrain"
RUN_ID_NAME = "wandb_run_id"
LONGEST_TITLE = 63


class WandbTracker:
    """A wandb run. Steps are sent as the metric `step`, so that a resumed stage may log a step a second time."""

    def __init__(self, run: Any, upload_model: bool = False) -> None:
        self._run, self._upload_model = run, upload_model
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

    def alert(self, title: str, text: str) -> None:
        """Raise an alert, which wandb sends on as the user has set it up (mail, Slack)."""
        self._run.alert(title[:LONGEST_TITLE], text, level="WARN", wait_duration=0)

    def summary(self, values: dict[str, Any]) -> None:
        """Record final values of the stage; nested dicts become dotted names."""
        self._run.summary.update(values)

    def artifacts(self, folder: Path, record: dict[str, Any], parents: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        """Record the stage's artifact as the run's output, its parents' and its data as inputs.

        They are references by path and sha256; with `runtime.tracker_upload_model` the model's files are uploaded.
        Inputs go through `_log_artifact` since `use_artifact` refuses an offline run; this is what it calls itself.
        """
        for artifact in input_artifacts(record, parents):
            self._run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        self._run.log_artifact(output_artifact(folder, record, self._upload_model))

    def finish(self, outcome: Outcome = "done") -> None:
        """Close the run, waiting at most FINISH_TIMEOUT_S seconds for what is still being sent.

        wandb's service may still be writing the offline file when its own finish returns; teardown waits for it.
        """
        import wandb

        if outcome == "preempted":
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if outcome == "done" else 1)
        wandb.teardown()


def open_wandb(
    runtime: Any, run_name: str, stage_name: str, kind: str, config: dict[str, Any], folder: Path, offline: bool
) -> WandbTracker | None:
    """Open the wandb run of one stage, or None where WANDB_MODE disables it.

    `tracker_mode` `auto` is online with a WANDB_API_KEY and offline without one; WANDB_MODE `offline` or `disabled` in
    the environment decides when set. When the server cannot be reached or refuses the key the run goes on offline, with
    one message. Raises UserError for `online` without a key or in an offline pipeline.
    """
    mode = wandb_mode(runtime.tracker_mode, offline)
    if mode == "disabled":
        return None
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
    upload = runtime.tracker_upload_model
    if mode == "online":
        reason = _why_server_is_away(wandb.setup().settings.base_url)
        if reason is None:
            try:
                return WandbTracker(wandb.init(**arguments, resume="allow", settings=_settings("online")), upload)
            except wandb.errors.Error as error:
                wandb.teardown()
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        where = folder / "wandb"
        print(f"wandb: {reason}; tracking offline under {where} (send it later: posttrain sync)", flush=True)
    return WandbTracker(wandb.init(**arguments, settings=_settings("offline")), upload)


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
