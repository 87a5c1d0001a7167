"""Dashboards as code: built without a network, and every panel asks for what a stage of its kind logs."""

import json
from pathlib import Path

import pytest
from wandb.sdk.lib import wbauth

from data.errors import UserError
from launch.cli import main
from training.config import load_pipeline
from training.dashboards import Board, boards
from training.metric_names import METRICS, describe

QUICKSTART = Path("configs/quickstart.yaml")


@pytest.fixture(autouse=True)
def _no_wandb_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    wbauth.unauthenticate_session()  # an earlier test of this process may have had a key


@pytest.fixture(scope="module")
def made() -> dict[str, Board]:
    return {board.kind: board for board in boards(load_pipeline(QUICKSTART))}


def test_each_kind_of_training_stage_has_a_board(made: dict[str, Board]) -> None:
    assert list(made) == ["sft", "dpo", "grpo"]
    wanted = ["Learning", "Rewards", "Lengths", "Parity", "Health", "Step time", "Throughput"]
    assert list(made["grpo"].sections) == wanted
    assert "Rewards" not in made["sft"].sections


def test_panels_ask_only_for_metrics_that_the_kind_writes(made: dict[str, Board]) -> None:
    for kind, board in made.items():
        for panels in board.sections.values():
            for name in (name for panel in panels for name in panel.metrics):
                metric = describe(name)
                assert metric is not None, name
                assert kind in metric.kinds, (kind, name)


def test_step_time_stacks_every_phase_of_the_kind_and_the_rest(made: dict[str, Board]) -> None:
    panel = made["grpo"].sections["Step time"][0]
    assert panel.stacked
    phases = {name for name, metric in METRICS.items() if name.startswith("timing_s/") and "grpo" in metric.kinds}
    assert set(panel.metrics) == phases - {"timing_s/step"}
    assert "timing_s/unaccounted" in panel.metrics
    assert "timing_s/generate" not in made["sft"].sections["Step time"][0].metrics


def test_rewards_and_probes_are_those_of_the_pipeline(made: dict[str, Board]) -> None:
    (panel,) = made["grpo"].sections["Rewards"]
    assert panel.metrics == ("reward/answer", "reward/format")
    probed = load_pipeline(QUICKSTART, ["stages.sft.probe.suites=[in_domain]", "stages.sft.probe.every=4"])
    board = boards(probed)[0]
    assert board.sections["Learning"][-1].metrics == ("probe/in_domain/accuracy",)


def test_workspace_is_built_offline_with_the_metrics_of_its_board(made: dict[str, Board]) -> None:
    from training.wandb_dashboard import Place, workspaces_json

    board = made["grpo"]
    (view,) = json.loads(workspaces_json([board], Place("team", "posttrain")))
    text = json.dumps(view)
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    assert [one["name"] for one in sections] == list(board.sections)
    plots = [[panel["config"]["metrics"] for panel in one["panels"]] for one in sections]
    assert plots == [[list(panel.metrics) for panel in panels] for panels in board.sections.values()]
    stacked = sections[list(board.sections).index("Step time")]["panels"][0]["config"]
    assert stacked["plotType"] == "stacked-area"
    assert stacked["xAxis"] == "step"
    assert '"value": "quickstart"' in text
    assert '"value": "grpo"' in text


def test_dashboard_show_prints_the_panels_without_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "show", str(QUICKSTART)]) == 0
    shown = capsys.readouterr().out
    assert "Where a step's seconds go [s], stacked: timing_s/data, timing_s/generate" in shown
    assert "reward/answer, reward/format" in shown


def test_dashboard_push_without_a_login_is_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "push", str(QUICKSTART)]) == 2
    assert "not logged in" in capsys.readouterr().err


def test_dashboard_without_the_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from training import wandb_dashboard

    monkeypatch.setattr(wandb_dashboard.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install"):
        wandb_dashboard.where(None, None, online=False)
