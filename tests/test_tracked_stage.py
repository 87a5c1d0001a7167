"""A stage under its tracker: told how it ended, once, and never failed by what the tracker has against it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.errors import UserError
from tests.fake_run import write_fake_run
from training.config import load_pipeline
from training.guarded_tracker import FAILURES_IN_A_ROW, GuardedTracker
from training.plan import plan_run
from training.report.collect import read_run
from training.tracked_stage import tell_preempted, tell_result, tracked, tracked_config
from training.tracker import NullTracker


class Broken(NullTracker):
    """Takes nothing from step 2 on, not even its end."""

    def log(self, metrics: dict[str, Any], step: int) -> None:
        if step > 1:
            raise ConnectionError("the server is gone\nand more")

    def alert(self, title: str, text: str) -> None:
        raise ValueError("no alerts")

    def finish(self, outcome: str = "done") -> None:
        raise TimeoutError


class Recorder(NullTracker):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def summary(self, values: dict[str, Any]) -> None:
        self.told.append(("summary", values))

    def artifacts(self, folder: Path, record: dict[str, Any], parents: Any) -> None:
        self.told.append(("artifacts", record["stage"], [parent["stage"] for _, parent in parents]))

    def finish(self, outcome: str = "done") -> None:
        self.told.append(outcome)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr("training.tracked_stage.open_tracker", lambda *given, **named: recorder)
    monkeypatch.setattr("training.tracked_stage.tracked_config", lambda context: {})
    return recorder


def context_of(is_main: bool = True, **more: Any) -> Any:
    pipeline = SimpleNamespace(runtime=None, name="tiny", offline=False)
    planned = SimpleNamespace(name="sft", kind="sft", parents=[])
    known = {"world": SimpleNamespace(is_main=is_main), "pipeline": pipeline, "planned": planned, "folder": Path()}
    context = SimpleNamespace(tracker=NullTracker(), said=[], **(known | more))
    context.say = context.said.append
    return context


def test_tracker_of_rank_0_is_open_inside_and_closed_behind(opened: Recorder) -> None:
    context = context_of()
    with tracked(context):
        assert opened.told == []
        context.tracker.summary({"loss": 0.5})
        assert opened.told.pop() == ("summary", {"loss": 0.5})
    assert opened.told == ["done"]


def test_other_ranks_have_no_tracker(opened: Recorder) -> None:
    context = context_of(is_main=False)
    with tracked(context):
        assert context.tracker is not opened
    assert opened.told == []


def test_a_failure_is_told_and_travels(opened: Recorder) -> None:
    with pytest.raises(KeyboardInterrupt), tracked(context_of()):
        raise KeyboardInterrupt
    assert opened.told == ["failed"]


def test_a_preempted_stage_is_closed_once_as_such(opened: Recorder) -> None:
    context = context_of()
    with tracked(context):
        tell_preempted(context)
    assert opened.told == ["preempted"]


def test_results_are_the_records_and_the_parents_are_named(tmp_path: Path) -> None:
    view = read_run(write_fake_run(tmp_path))
    stage = view.stage("dpo")
    planned = SimpleNamespace(parents=["sft", "pairs"])
    folders = {name: view.stage(name).folder for name in planned.parents}
    records = {name: view.stage(name).record for name in planned.parents}
    recorder = Recorder()
    named = {"folder_of": folders.__getitem__, "record_of": records.__getitem__}
    context = context_of(folder=stage.folder, planned=planned, **named)
    context.tracker = recorder
    tell_result(context)
    assert recorder.told == [("summary", stage.record["metrics"]), ("artifacts", "dpo", ["sft", "pairs"])]


def test_a_tracker_that_fails_is_said_once_and_ends_nothing(monkeypatch: pytest.MonkeyPatch, opened: Recorder) -> None:
    monkeypatch.setattr("training.tracked_stage.open_tracker", lambda *given, **named: Broken())
    context = context_of()
    with tracked(context):
        for step in range(1, 4):
            context.tracker.log({"loss": 0.5}, step)
        context.tracker.alert("truncation", "many")
    assert context.said == [
        "the tracker failed at `log` (ConnectionError: the server is gone); the run goes on",
        "the tracker did not take 4 of its calls; metrics.jsonl and the record have everything",
    ]


def test_a_failure_of_the_stage_outlives_that_of_its_tracker(monkeypatch: pytest.MonkeyPatch, opened: Recorder) -> None:
    monkeypatch.setattr("training.tracked_stage.open_tracker", lambda *given, **named: Broken())
    with pytest.raises(ZeroDivisionError), tracked(context_of()):
        raise ZeroDivisionError


def test_a_tracker_that_cannot_be_opened_is_said_and_a_user_error_travels(
    monkeypatch: pytest.MonkeyPatch, opened: Recorder
) -> None:
    def refuse(*given: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr("training.tracked_stage.open_tracker", refuse)
    error: Exception = ConnectionError("no route")
    context = context_of()
    with tracked(context):
        context.tracker.log({"loss": 0.5}, 1)
    (line,) = context.said
    assert "ConnectionError: no route" in line
    error = UserError("runtime.tracker_mode=online needs a key")
    with pytest.raises(UserError, match="needs a key"), tracked(context_of()):
        pass


def test_a_tracker_that_fails_again_and_again_is_left_alone() -> None:
    asked = []

    class Away(NullTracker):
        def log(self, metrics: dict[str, Any], step: int) -> None:
            asked.append(step)
            if step != 5:  # one that gets through starts the count anew
                raise ConnectionError

    said: list[str] = []
    tracker = GuardedTracker(Away(), said.append)
    for step in range(1, 40):
        tracker.log({}, step)
    tracker.finish()
    assert asked == list(range(1, 6 + FAILURES_IN_A_ROW))
    assert said[-1].startswith("the tracker did not take 38 of its calls")


def test_config_has_the_stage_and_what_else_decides_it(tmp_path: Path) -> None:
    pipeline = load_pipeline(Path("configs/tiny.yaml"))
    plan = plan_run(pipeline, tmp_path / "tiny")
    planned = plan["dpo"]
    config = tracked_config(SimpleNamespace(pipeline=pipeline, plan=plan, planned=planned, stage=planned.stage))
    assert config["batch_size"] == 8
    assert config["trainer"]["learning_rate"] == 1e-4
    assert config["pipeline"]["seed"] == 17
    assert config["runtime"]["processes"] == 1
    assert config["fingerprint"] == planned.fingerprint
    assert config["parents"] == {name: plan[name].fingerprint for name in ("sft", "pairs")}
    assert "runs_dir" not in config["runtime"]
