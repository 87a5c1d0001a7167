"""The queue of a sweep: shared stages are linked and waited for, rounds for arrays, devices, and the table."""

import json
from pathlib import Path

import pytest

from data.errors import UserError
from launch.sweep import SweepRequest, run_sweep
from launch.sweep_devices import gpu_share, visible_gpus
from launch.sweep_folder import PlannedPoint, SweepFolder, bring_in, link_folder, waves
from launch.sweep_queue import PointQueue
from launch.sweep_table import point_results, seed_means, sweep_text
from tests.fake_artifacts import finish
from tests.test_plan import PIPELINE
from training.config.sweep import LoadedSweep, load_sweep
from training.record import read_record
from training.run_folder import RunFolder


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSweep:
    """Two values of DPO's beta by two seeds, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("planned.yaml").write_text(PIPELINE)
    Path("sweep.yaml").write_text(
        "name: betas\nconfig: planned.yaml\ngrid:\n  stages.dpo.trainer.beta: [0.1, 0.2]\n  seed: [1, 2]\n"
    )
    return load_sweep("sweep.yaml")


def finish_until(point: PlannedPoint, last: str) -> None:
    """Leave records of a point's stages up to one, as its run would."""
    folder = RunFolder(point.run_dir)
    folder.write_resolved(
        point.point.pipeline, Path("planned.yaml"), point.point.overrides, point.plan.fingerprints, point.plan.folders
    )
    for stage in point.plan.stages:
        finish(point.plan, stage)
        if stage.name == last:
            break
    point.refresh()


def test_sweep_stages_finished_by_one_point_are_linked_into_another(sweep: LoadedSweep) -> None:
    points = SweepFolder(sweep).plan()
    finish_until(points[0], "sft")
    brought = bring_in(points[2], points, sweep.config_path)
    assert set(brought.values()) == {points[0].point.name}
    assert "sft" in brought
    source, target = points[0].plan["sft"].folder, points[2].plan["sft"].folder
    assert points[2].plan["sft"].state == "done"
    assert read_record(target) == read_record(source)
    assert (target / "record.json").stat().st_ino == (source / "record.json").stat().st_ino
    assert points[2].plan["dpo"].state == "new"
    RunFolder(points[2].run_dir).check(points[2].point.pipeline.name)


def test_sweep_another_seed_shares_nothing_that_depends_on_it(sweep: LoadedSweep) -> None:
    points = SweepFolder(sweep).plan()
    finish_until(points[0], "sft")
    assert "sft" not in bring_in(points[1], points, sweep.config_path)


def test_sweep_linked_folder_outlives_its_source_and_replaces_an_unfinished_one(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "model").mkdir(parents=True)
    (source / "model" / "weights").write_text("w")
    (source / "link").symlink_to("model")
    target.mkdir()
    (target / "half").write_text("interrupted")
    link_folder(source, target)
    (source / "model" / "weights").unlink()
    assert (target / "model" / "weights").read_text() == "w"
    assert (target / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]
    assert not (target / "half").exists()


def test_sweep_rounds_make_a_shared_stage_once(sweep: LoadedSweep) -> None:
    """One point a seed makes SFT; the other beta of each seed comes in the round after."""
    points = SweepFolder(sweep).plan()
    assert waves(points) == [[0, 1], [2, 3]]
    finish_until(points[0], "pairs")
    bring_in(points[2], points, sweep.config_path)
    assert waves(points) == [[0, 1, 2], [3]]


def test_sweep_point_waits_for_a_running_one_that_makes_what_it_needs(sweep: LoadedSweep) -> None:
    folder = SweepFolder(sweep)
    points = folder.plan()
    queue = PointQueue(folder, points, parallel=2, past_gates=False)
    assert all(queue.may_start(point) for point in points)
    running = [points[0]]
    assert queue.may_start(points[1], running)
    assert not queue.may_start(points[2], running)
    finish_until(points[0], "pairs")
    assert queue.may_start(points[2], running)
    assert set(queue.shared[2]) == {"base", "evaluate-base", "sft", "evaluate-sft", "pairs"}


def test_sweep_slurm_submits_the_first_round_as_an_array(
    sweep: LoadedSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = 'runtime.slurm={"time": "1:00:00"}'
    assert run_sweep(SweepRequest(Path("sweep.yaml"), [slurm], slurm=True, dry_run=True)) == 0
    shown = capsys.readouterr().out
    assert "2 more points start from stages that these make" in shown
    script = next(Path("runs/betas/slurm").rglob("*-sft.sbatch")).read_text()
    assert "#SBATCH --array=0-1" in script
    assert "seed=1" in script
    assert "beta=0.1" in script
    assert "beta=0.2" not in script


def test_sweep_folder_of_a_run_or_of_another_sweep_is_refused(sweep: LoadedSweep) -> None:
    folder = SweepFolder(sweep)
    folder.write({"name": "other"})
    with pytest.raises(UserError, match="belongs to the sweep 'other'"):
        SweepFolder(sweep)
    (folder.path / "sweep.json").unlink()
    (folder.path / "pipeline.resolved.json").write_text("{}")
    with pytest.raises(UserError, match="is the folder of a run"):
        SweepFolder(sweep)


@pytest.mark.parametrize("content", ['{"name": "bet', "", "[1]", "{}"])
def test_sweep_with_a_damaged_account_says_what_to_do(sweep: LoadedSweep, content: str) -> None:
    folder = SweepFolder(sweep)
    folder.write({"name": "betas"})
    (folder.path / "sweep.json").write_text(content)
    with pytest.raises(UserError, match=r"runs/betas/sweep.json .*; remove it, `posttrain sweep` writes it anew"):
        SweepFolder(sweep)


def test_sweep_without_slots_is_refused(sweep: LoadedSweep) -> None:
    with pytest.raises(UserError, match="--parallel 0"):
        run_sweep(SweepRequest(Path("sweep.yaml"), parallel=0))


def test_sweep_gpus_are_divided_and_too_many_points_refused(tmp_path: Path) -> None:
    gpus = visible_gpus({"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    assert [gpu_share(slot, 2, 2, gpus)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]
    assert gpu_share(0, 1, 4, gpus) == {}
    assert gpu_share(0, 4, 2, []) == {}
    with pytest.raises(UserError, match="use --parallel 2"):
        gpu_share(0, 3, 2, gpus)
    (tmp_path / "0000:01:00.0").mkdir()
    assert visible_gpus({}, tmp_path) == ["0"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []


def point(index: int, beta: float, seed: int, accuracy: float | None, state: str = "done") -> dict[str, object]:
    score = {"accuracy": accuracy, "ci95": [0.25, 0.75], "n": 16}
    results = {} if accuracy is None else {"base": {"easy": {**score, "accuracy": 0.0}}, "dpo": {"easy": score}}
    return {
        "index": index,
        "values": {"a.beta": beta, "seed": seed},
        "state": state,
        "results": results,
        "eval_loss": {},
    }


def test_sweep_table_shows_the_last_model_with_interval_and_n_and_the_spread_over_seeds() -> None:
    points = [point(0, 0.1, 1, 0.5), point(1, 0.1, 2, 0.6), point(2, 0.2, 1, 0.4), point(3, 0.2, 2, None, "failed")]
    content = {"keys": ["a.beta", "seed"], "points": points}
    lines = sweep_text(content).splitlines()
    assert lines[0].split() == ["point", "beta", "seed", "state", "model", "easy,", "95", "%", "interval,", "n"]
    assert lines[2].endswith("50.0 % (25.0 to 75.0), 16")
    assert "failed" in lines[5]
    # mean of 50 and 60 is 55; the sample standard deviation of two values is their difference over sqrt(2)
    assert seed_means(content) == ["beta 0.1: easy 55.0 % +- 7.1 over 2 seeds"]


def test_sweep_table_shows_the_held_out_loss_of_each_stage_that_has_one() -> None:
    losses = [{"stacked": 5.5, "healed": 4.25}, {"stacked": 6.0}]
    points = [point(n, 0.1, n, None, "done") | {"eval_loss": found} for n, found in enumerate(losses)]
    lines = [line.split() for line in sweep_text({"keys": ["a.beta"], "points": points}).splitlines()]
    assert lines[0] == ["point", "beta", "state", "stacked", "eval_loss", "healed", "eval_loss"]
    assert [line[-2:] for line in lines[-2:]] == [["5.5000", "4.2500"], ["6.0000", "-"]]


def test_sweep_results_have_the_held_out_loss_of_a_training_stage_from_its_record(sweep: LoadedSweep) -> None:
    """Of records as they lie there: an evaluation's own numbers are no held-out loss."""
    points = SweepFolder(sweep).plan()
    finish_until(points[0], "sft")
    path = points[0].plan["sft"].folder / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"metrics": {"eval_loss": 1.5, "loss": 1.0}}))
    assert point_results(points[0].run_dir)["eval_loss"] == {"sft": 1.5}
    assert point_results(points[1].run_dir) == {"results": {}, "eval_loss": {}}
