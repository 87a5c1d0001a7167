"""What the benchmarks of docs/speed.md compute of their measurements, by hand, and that TRL's side of a stage runs."""

from pathlib import Path

import pytest

from benchmarks import decode_roofline, grpo_cost, learning_curves, rollout_speed, roofline, time_to_accuracy
from benchmarks.arms import Runs, Work, our_curve
from benchmarks.grpo_cost import PHASES, Point, departure, points
from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline


def test_departure_is_what_the_third_point_lies_above_the_line_through_the_first_two() -> None:
    """Through (4, 10) and (8, 14) the line has 22 at 16; 33 is half as much again."""
    assert departure([4, 8, 16], [10.0, 14.0, 33.0]) == pytest.approx(0.5)
    assert departure([4, 8, 16], [10.0, 14.0, 22.0]) == pytest.approx(0.0)


def test_axes_vary_one_thing_each_and_share_their_base_point() -> None:
    axes = list(points(""))
    assert [[point.size for point in axis] for axis in axes[:3]] == [[4, 8, 16], [32, 64, 128], [10, 20, 30]]
    names = [{point.name for point in axis} for axis in axes]
    assert set.intersection(*names) == {"g8-t64-l10-2x1"}
    assert [axis[0].axis for axis in points("length")] == ["length"]


def test_cost_table_tells_the_departure_with_the_last_point_and_none_of_ranks() -> None:
    found = [dict.fromkeys(PHASES, seconds) for seconds in (10.0, 14.0, 33.0)]
    group = [Point("group", group=size) for size in (4, 8, 16)]
    assert grpo_cost.lines(group, found)[-1] == "| group 16 | 2 x 1 | 33.00 | 33.00 | 33.00 | +50% | +50% | +50% |"
    ranks = [Point("ranks", ranks=1, threads=2)] * 3
    assert grpo_cost.lines(ranks, found)[-1] == "| the same step | 1 x 2 | 33.00 | 33.00 | 33.00 |  |  |  |"


def test_roofline_by_hand() -> None:
    """1e9 parameters. Two steps of 10 s: 8 x 50 tokens drawn in 4 s, 200 tokens/s x 10 s trained in 5 s. Drawing is
    2 x 1e9 x 400 = 0.8 TFLOP, 0.2 TFLOP/s; training 6 x 1e9 x 2000 = 12 TFLOP, 2.4 TFLOP/s. A share of 0.5 of the peak
    by all seconds (1.2 TFLOP/s) makes the peak 2.4 TFLOP/s.
    """
    row = {"completions/mean_length": 50.0, "perf/tokens_per_s": 200.0, "perf/mfu": 0.5}
    row |= {"timing_s/step": 10.0, "timing_s/generate": 4.0, "timing_s/forward_backward": 5.0}
    found = roofline.phases([row, row], completions=8, parameters=10**9)
    assert found["peak"] == pytest.approx(2.4e12)
    assert found["phases"]["generate"] == (4.0, pytest.approx(0.8e12))
    assert found["phases"]["forward_backward"] == (5.0, pytest.approx(12e12))
    assert roofline.table(found).splitlines()[2:4] == [
        "| generate | 4.00 | 800 | 200.0 | 8% |",
        "| forward_backward | 5.00 | 12000 | 2400.0 | 100% |",
    ]


def test_decode_roofline_by_hand() -> None:
    """0.1 s of products: 2 GFLOP make 20 of 50 GFLOP/s, 0.5 GB 5 of 20 GB/s; they are half of a step of 0.2 s."""
    one = {"products_s": 0.1, "step_s": 0.2, "flops": 2e9, "bytes": 0.5e9}
    assert decode_roofline.line(8, 2, one, 50e9, 20e9) == "| 8 | 2 | 100 | 20 (40%) | 5.0 (25%) | 200 | 50% |"


def test_rollout_speed_compares_tokens_a_second_turn_by_turn() -> None:
    """Ours 100 and 300 tokens/s, generate() 50 and 100: ratios 2 and 3; CPU seconds are half as many on both sides."""

    def side(tokens: float) -> dict[str, float]:
        return {"tokens": tokens, "seconds": 2.0, "cpu_s": 1.0}

    found = [
        dict(zip(rollout_speed.SIDES, map(side, tokens), strict=True)) for tokens in ((200, 160, 100), (600, 300, 200))
    ]
    cells = [cell.strip() for cell in rollout_speed.line(16, found).strip("|").split("|")]
    assert cells[:4] == ["16", "200.0", "115.0", "75.0"]
    assert cells[4:] == ["2.50x (2.00-3.00)", "2.50x (2.00-3.00)", "1.62x (1.25-2.00)"]


def test_tokens_behind_the_first_end_token_are_not_counted() -> None:
    assert rollout_speed.up_to_end([5, 6, 2, 2, 7], {2, 9}) == [5, 6, 2]
    assert rollout_speed.up_to_end([5, 6], {2}) == [5, 6]


def test_seconds_of_a_probe_are_not_training() -> None:
    rows = [{"step": 1, "timing_s/step": 5.0}, {"step": 2, "timing_s/step": 9.0, "timing_s/evaluate": 3.0}]
    assert [step["seconds"] for step in our_curve(rows)] == [5.0, 11.0]


def test_difference_of_paired_curves_by_hand() -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, half-width 4.30 x 0.1 / sqrt(3) = 0.248."""
    mean, half = learning_curves.difference([0.3, 0.5, 0.7], [0.2, 0.3, 0.4])
    assert (mean, half) == (pytest.approx(0.2), pytest.approx(0.248, abs=1e-3))


def test_curves_that_differ_beyond_the_seeds_noise_are_called_apart() -> None:
    def curve(rewards: list[float]) -> list[dict[str, float]]:
        return [{"reward": reward} for reward in rewards]

    low, high = [0.0, 0.1, 0.2, 0.3], [0.5, 0.6, 0.7, 0.8]
    shown = learning_curves.table(
        {1: {"ours": curve(high), "trl": curve(low)}, 2: {"ours": curve(high), "trl": curve(low)}}
    )
    assert shown.splitlines()[2] == "| ours, seed 1 | 0.500 | 0.600 | 0.700 | 0.800 | 0.650 |"
    assert shown.splitlines()[-1].count("**apart**") == 5
    same = learning_curves.table(
        {1: {"ours": curve(high), "trl": curve(low)}, 2: {"ours": curve(low), "trl": curve(high)}}
    )
    assert "apart" not in same


def test_time_to_accuracy_is_that_of_the_first_probe_that_reaches_it() -> None:
    ours = [{"step": 1, "seconds": 4.0}, {"step": 2, "seconds": 8.0, time_to_accuracy.ACCURACY: 0.5}]
    trl = [{"step": 2, "seconds": 20.0, time_to_accuracy.ACCURACY: 0.3}]
    trl.append({"step": 4, "seconds": 40.0, time_to_accuracy.ACCURACY: 0.6})
    assert time_to_accuracy.lines({7: {"ours": ours, "trl": trl}}, [0.5, 0.6]) == [
        "| 0.50 | 7 | 8 (2) | 40 (4) | 5.00x |",
        "| 0.60 | 7 | not reached | 40 (4) |  |",
    ]


def test_arms_differ_in_their_name_alone_and_start_from_the_quickstarts_models() -> None:
    content = Work("grpo", 20).pipeline([1, 2])
    assert [stage["name"] for stage in content["stages"]] == [
        "sft",
        "pairs",
        "dpo",
        "ours-1",
        "trl-1",
        "ours-2",
        "trl-2",
    ]
    ours, trl = content["stages"][3:5]
    assert ours | {"name": "trl-1"} == trl
    assert (ours["from"], ours["seed"], ours["trainer"]["max_steps"]) == ("dpo", 1, 20)
    assert ours["data"]["generator"]["rows"] == 80  # 4 prompts of 8 completions a step
    first = Work("sft", 24, every=2).pipeline([1])["stages"]
    assert [(stage["name"], stage["from"], stage["probe"]["every"]) for stage in first] == [
        ("ours-1", "base", 2),
        ("trl-1", "base", 2),
    ]


@pytest.mark.slow
def test_trls_trainer_goes_through_the_stage_and_is_probed_where_ours_is(tmp_path: Path) -> None:
    work = Work("grpo", 2, every=1, items=4, model="bundled:tiny-random")
    content = work.pipeline([1])
    parents = {stage["name"] for stage in content["stages"][:3]}
    content["stages"] = [stage | {"from": "base"} for stage in content["stages"] if stage["name"] not in parents]
    content["runtime"] = content["runtime"] | {"processes": 1, "threads_per_process": 1}
    config = write_pipeline(tmp_path, **content)
    runs = Runs(config, tmp_path / "runs")
    curve = runs.trls("trl-1")
    assert [step["step"] for step in curve] == [1, 2]
    assert 0 < curve[0]["seconds"] < curve[1]["seconds"]
    assert all({"reward", time_to_accuracy.ACCURACY} <= set(step) for step in curve)


def test_roofline_reads_a_stage_that_ran(tmp_path: Path) -> None:
    config = write_pipeline(tmp_path, stage("grpo", folder=tmp_path))
    assert run_stage(config, "grpo") == 0
    folder = planned(config, "grpo").folder
    found = roofline.read(folder)
    last = metrics(folder)[-1]
    assert found["phases"]["generate"][0] == last["timing_s/generate"]
    assert 0 < found["phases"]["step"][1] / last["timing_s/step"] < 2 * found["peak"]
