"""TensorBoard, Trackio and MLflow by way of the callbacks that transformers has for its `report_to`.

The callbacks hear our metrics instead of the trainer's log, so they show what metrics.jsonl has, the ledger included,
under transformers' names (`train/` before ours). Tables, alerts and artifacts are wandb's alone.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.tracker import NullTracker, Outcome


@dataclass
class _Arguments:
    """What the callbacks read of a trainer's arguments."""

    config: dict[str, Any]
    project: str
    run_name: str
    output_dir: str
    trackio_space_id: str | None = None
    trackio_bucket_id: str | None = None
    trackio_static_space_id: bool = False
    """False: nothing is published on the hub."""
    hub_private_repo: bool = field(default=True)

    def to_dict(self) -> dict[str, Any]:
        return self.config

    def to_json_string(self) -> str:
        return json.dumps(self.config, indent=2, default=str)


class ReportingTracker(NullTracker):
    """One stage in the tracker that transformers calls `name`."""

    def __init__(self, name: str, run_name: str, stage_name: str, config: dict[str, Any], folder: Path) -> None:
        from transformers import TrainerControl, TrainerState
        from transformers.integrations.integration_utils import get_reporting_integration_callbacks

        if name == "mlflow":
            os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", run_name)
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        (kind,) = get_reporting_integration_callbacks(name)
        self._callback = kind()
        if name == "tensorboard" and self._callback.logging_dir is None:
            self._callback.logging_dir = str(folder / "tensorboard")
        self._arguments: Any = _Arguments(config, run_name, stage_name, str(folder))
        self._state = TrainerState(is_world_process_zero=True)
        self._control = TrainerControl()
        self._callback.on_train_begin(self._arguments, self._state, self._control)

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Record the metrics of one optimizer step; values that are None are left out."""
        known = {name: value for name, value in metrics.items() if value is not None}
        self._state.global_step = step
        self._callback.on_log(self._arguments, self._state, self._control, logs=known)

    def finish(self, outcome: Outcome = "done") -> None:
        """Close the run."""
        self._callback.on_train_end(self._arguments, self._state, self._control)
