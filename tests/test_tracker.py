"""Which tracker a pipeline gets and in which mode, what is refused, and the trackers that are not wandb."""

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.errors import UserError
from tests.wandb_runs import open_for_test
from training.config import load_pipeline
from training.tracker import NullTracker, require_tracker
from training.wandb_tracker import wandb_mode

pytestmark = pytest.mark.usefixtures("no_wandb_login")


@pytest.mark.parametrize(("tracker", "mode"), [("none", "auto"), ("wandb", "disabled")])
def test_tracker_off_writes_nothing(tmp_path: Path, tracker: str, mode: str) -> None:
    null = open_for_test(tmp_path, tracker, mode)
    assert isinstance(null, NullTracker)
    null.log({"loss": 1.0}, 1)
    null.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "key", "environment", "offline", "expected"),
    [
        ("auto", "", "", False, "offline"),
        ("auto", "f" * 40, "", False, "online"),
        ("auto", "f" * 40, "", True, "offline"),
        ("auto", "f" * 40, "offline", False, "offline"),
        ("auto", "f" * 40, "disabled", False, "disabled"),
        ("offline", "f" * 40, "online", False, "offline"),
        ("online", "f" * 40, "", False, "online"),
    ],
)
def test_wandb_mode_table(
    monkeypatch: pytest.MonkeyPatch, asked: str, key: str, environment: str, offline: bool, expected: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", environment)
    assert wandb_mode(asked, offline) == expected


def test_online_without_a_key_is_a_user_error_that_names_the_variable() -> None:
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        wandb_mode("online")


def test_online_in_an_offline_pipeline_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(UserError, match="offline: true"):
        wandb_mode("online", offline=True)


def test_tensorboard_gets_the_ledger_as_well(tmp_path: Path) -> None:
    from tensorboardX.proto import event_pb2

    tracker = open_for_test(tmp_path, "tensorboard")
    tracker.log({"reward": 0.5, "timing_s/generate": 0.25, "kl": None}, 7)
    tracker.finish()
    (path,) = (tmp_path / "tensorboard").iterdir()
    found = {}
    content, position = path.read_bytes(), 0
    while position < len(content):  # TFRecord: length, its CRC, the event, its CRC
        (length,) = struct.unpack_from("<Q", content, position)
        event = event_pb2.Event.FromString(content[position + 12 : position + 12 + length])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value if value.simple_value}
        position += 16 + length
    assert found == {"train/reward": (7, 0.5), "train/timing_s/generate": (7, 0.25)}


@pytest.mark.parametrize("name", ["trackio", "mlflow", "tensorboard"])
def test_tracker_that_is_not_installed_is_a_user_error_with_the_pip_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tracker.importlib.util.find_spec", lambda package: None)
    with pytest.raises(UserError, match=f"pip install {name}"):
        open_for_test(tmp_path, name)


@pytest.mark.parametrize(
    ("tracker", "variable", "place", "refused"),
    [
        ("mlflow", "MLFLOW_TRACKING_URI", "https://anna:secret@mlflow.example:5000", "mlflow.example:5000"),
        ("mlflow", "MLFLOW_TRACKING_URI", "databricks", "databricks"),
        ("mlflow", "MLFLOW_TRACKING_URI", "databricks://team", "databricks://team"),
        ("mlflow", "MLFLOW_TRACKING_URI", "sqlite:///mlflow.db", None),
        ("mlflow", "MLFLOW_TRACKING_URI", "file:///data/mlruns", None),
        ("mlflow", "MLFLOW_TRACKING_URI", "mlruns", None),
        ("mlflow", "MLFLOW_TRACKING_URI", "", None),
        ("trackio", "TRACKIO_SPACE_ID", "anna/curves", "anna/curves"),
    ],
)
def test_an_offline_pipeline_refuses_the_server_of_a_tracker(
    tracker: str, variable: str, place: str, refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tracker.importlib.util.find_spec", lambda package: package)
    runtime = SimpleNamespace(tracker=tracker)
    require_tracker(runtime, offline=False, environment={variable: place})
    if refused is None:
        require_tracker(runtime, offline=True, environment={variable: place})
        return
    with pytest.raises(UserError, match=f"{variable} .*{refused}.* contradicts offline: true") as caught:
        require_tracker(runtime, offline=True, environment={variable: place})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("overrides", [["runtime.tracker_mode=online"], ["runtime.tracker_upload_model=true"]])
def test_settings_of_wandb_are_refused_for_other_trackers(overrides: list[str]) -> None:
    with pytest.raises(UserError, match="would be ignored with tracker tensorboard"):
        load_pipeline(Path("configs/tiny.yaml"), ["runtime.tracker=tensorboard", *overrides])
