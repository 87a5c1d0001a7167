"""`posttrain plan` as users call it: verdict, time, money, JSON, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from launch.cli import main
from tests.test_plan import PIPELINE
from training.config import SURGERY_KINDS

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [
    path
    for path in sorted((ROOT / "configs").rglob("*.yaml"))
    if not {"accelerate", "deepspeed", "sweeps"} & set(path.relative_to(ROOT / "configs").parts)
]
COMMIT = "a" * 40
BIG = f"""
name: big
model: meta-llama/Llama-2-7b-hf@{COMMIT}
stages:
  - name: sft
    kind: sft
    batch_size: 64
    data: {{generator: {{name: reasoning_gym, families: {{chain_sum: {{}}}}, rows: 6400, completions: worked}}}}
    trainer: {{max_steps: 100, max_length: 4096, gradient_checkpointing: false}}
runtime: {{processes: 8, micro_batch_size: 4, zero_stage: 2}}
"""
R1_ZERO = f"""
name: r1-zero
model: deepseek-ai/DeepSeek-V3-Base@{COMMIT}
stages:
  - name: grpo
    kind: grpo
    batch_size: 512
    data: {{generator: {{name: reasoning_gym, families: {{chain_sum: {{}}}}, rows: 208000}}}}
    rewards: [answer]
    trainer: {{max_steps: 10400, num_generations: 16, generation_batch_size: 8192, max_completion_length: 32768}}
runtime: {{processes: 512, micro_batch_size: 1, zero_stage: 3}}
"""


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own: plan looks for ledgers under runs/."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "pipeline.yaml") -> str:
    Path(name).write_text(text)
    return name


def planned(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> dict[str, Any]:
    """The JSON of a plan, and the exit code it has to end with."""
    assert main(["plan", *argv, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    "override",
    ["runtime.fast_paths=false", "stages.grpo.trainer.bf16=true", "stages.grpo.trainer.max_completion_length=15"],
)
def test_rollouts_are_planned_with_packed_weights_where_they_will_have_them(
    capsys: pytest.CaptureFixture[str], override: str
) -> None:
    quickstart = str(ROOT / "configs" / "quickstart.yaml")

    def packed(*overrides: str) -> bool:
        grpo = next(stage for stage in planned(capsys, quickstart, *overrides)["stages"] if stage["name"] == "grpo")
        return "packed" in grpo["memory"]["phases"]["generate"]["parts"]

    assert packed()
    assert not packed(override)


def test_a_whole_group_in_a_micro_batch_keeps_its_prompt_once(capsys: pytest.CaptureFixture[str]) -> None:
    quickstart = str(ROOT / "configs" / "quickstart.yaml")

    def activations(*overrides: str) -> float:
        grpo = next(stage for stage in planned(capsys, quickstart, *overrides)["stages"] if stage["name"] == "grpo")
        return float(grpo["memory"]["phases"]["forward_backward"]["parts"]["activations"])

    shared = activations()
    assert activations("runtime.fast_paths=false") > 2 * shared
    assert activations("stages.grpo.trainer.gradient_checkpointing=true") < shared


def stage(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["stages"] if one["name"] == name)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_plan_of_every_shipped_config(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On this machine, or for GPUs nobody named: memory is told for every stage."""
    monkeypatch.chdir(ROOT)
    code = main(["plan", str(path), f"runtime.runs_dir={tmp_path}", "--json"])
    shown = capsys.readouterr()
    assert code in (0, 2), shown.err
    found = json.loads(shown.out)
    assert (code == 2) == (found["fits"] is False)
    copying = [one["name"] for one in found["stages"] if one["kind"] in SURGERY_KINDS]
    assert all(one["memory"]["peak"] > 0 for one in found["stages"][1:] if one["name"] not in copying)


def test_r1_zero_batch_algebra_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Published: 10,400 updates of 32 prompts x 16 answers, rounds of 8,192 answers, 1.6 epochs."""
    main(["plan", write(R1_ZERO)])
    words = (
        "one GRPO step = 32 prompts x 16 completions = 512 completions on 512 ranks (1 completions x 1 accumulation "
        "step each); 16 optimizer updates a round of 8,192 completions; 10,400 updates = 1.6 epochs of 208,000 prompts"
    )
    shown = capsys.readouterr().out
    assert words in shown
    assert "671.03 B parameters, 37.55 B active a token" in shown
    assert "fits on none of" in shown


def test_r1_zero_as_shipped_has_the_published_scale(capsys: pytest.CaptureFixture[str]) -> None:
    """On as many GPUs as the paper had, a model that fits: the algebra is the paper's, the pace of its order."""
    found = planned(capsys, str(ROOT / "configs" / "recipes" / "r1_zero.yaml"), "--gpu", "h800")
    grpo = stage(found, "grpo")
    batch = grpo["batch"]
    assert (batch["prompts"], batch["group"], batch["batch_size"], batch["ranks"]) == (32, 16, 512, 512)
    assert (batch["round_size"], batch["updates_per_round"]) == (8192, 16)
    assert (batch["updates"], batch["epochs"]) == (10400, 1.6)
    assert grpo["time"]["update_s"]["low"] < 68.5 < grpo["time"]["update_s"]["high"]


TEACHER = f"""
name: taught
model: bundled:tiny-random
stages:
  - name: samples
    kind: sample
    model: Qwen/Qwen3-14B@{COMMIT}
    data: {{generator: {{name: reasoning_gym, families: {{chain_sum: {{}}}}, rows: 64}}}}
    rewards: [answer]
    dtype: bfloat16
"""


def test_a_teacher_is_estimated_by_its_own_size_and_an_unknown_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Qwen3-14B has 14,768,307,200 parameters (its model card says 14.8 B): 29.5 GB in bf16."""
    found = planned(capsys, write(TEACHER), "--gpu", "h100-80gb")
    assert stage(found, "samples")["memory"]["phases"]["load"]["parts"]["weights"] == 2 * 14_768_307_200
    assert main(["plan", write(TEACHER), f"stages.samples.model=nobody/nothing@{COMMIT}", "--gpu", "h100-80gb"]) == 0
    assert "samples is not estimated: model: nobody/nothing" in capsys.readouterr().out


def test_a_limit_says_how_many_rows_of_unknown_data_there_are_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    rows = f"stages.samples.data={{hub: someone/rows@{COMMIT}, limit: 64}}"
    known = stage(planned(capsys, write(TEACHER), "--gpu", "h100-80gb"), "samples")["time"]
    limited = stage(planned(capsys, write(TEACHER), rows, "--gpu", "h100-80gb"), "samples")["time"]
    assert limited["total"] == known["total"]
    assert known["total"]["seconds"]["likely"] > 0


def test_rounds_reused_take_fewer_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    """num_iterations 2 doubles the updates of a round and halves the prompts that each takes from the data."""
    found = planned(capsys, write(R1_ZERO), "stages.grpo.trainer.num_iterations=2")
    batch = stage(found, "grpo")["batch"]
    assert (batch["updates_per_round"], batch["rounds"], batch["epochs"]) == (32, 325, 0.8)


def test_too_big_exits_2_and_the_change_it_names_fits(capsys: pytest.CaptureFixture[str]) -> None:
    config = write(BIG)
    assert main(["plan", config, "--gpu", "a100-80gb"]) == 2
    message = capsys.readouterr().err
    assert "stages.sft does not fit: a rank needs" in message
    found = planned(capsys, config, "--gpu", "a100-80gb", code=2)
    change = found["smallest_change"]
    assert change in message
    overrides = [
        part.replace("trainer.gradient_checkpointing: true in the stages that switch it off", "")
        or "stages.sft.trainer.gradient_checkpointing=true"
        for part in change.split(" and ")
    ]
    assert planned(capsys, config, *overrides, "--gpu", "a100-80gb")["fits"] is True


def test_too_big_for_everything_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A round of DeepSeek-V3 decodes with whole weights on each rank: no batch or ZeRO stage brings that down."""
    assert main(["plan", write(R1_ZERO), "--gpu", "h800"]) == 2
    assert "nothing that plan tries makes it fit" in capsys.readouterr().err


def test_gpus_set_the_ranks_and_sizes_that_do_not_divide_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    config = write(BIG)
    found = planned(capsys, config, "--gpu", "h200", "--gpus", "16")
    assert (found["machine"]["ranks"], stage(found, "sft")["batch"]["accumulation"]) == (16, 1)
    assert main(["plan", config, "--gpu", "h200", "--gpus", "6"]) == 2
    assert "does not divide over 6 ranks; use 48 or 72 rows, or runtime.processes 4 or 8" in capsys.readouterr().err


def test_nodes_count_eight_gpus_each(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, write(BIG), "--nodes", "2", "--gpus-per-node", "4")
    assert (found["machine"]["ranks"], found["machine"]["nodes"], found["machine"]["device"]) == (8, 2, None)
    assert planned(capsys, write(BIG), "--nodes", "2")["machine"]["ranks"] == 16


def test_time_energy_and_cost_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """GPU-hours are seconds x 8 ranks / 3600; at 500 W and a price of 2 they cost half a kWh and 2 each."""
    options = ("--gpu", "h200", "--watts", "500", "--price-per-gpu-hour", "2", "runtime.micro_batch_size=1")
    found = planned(capsys, write(BIG), *options)
    one = stage(found, "sft")["time"]
    for end in ("low", "likely", "high"):
        total = one["total"]
        assert total["seconds"][end] == pytest.approx(100 * one["update_s"][end])
        assert total["gpu_hours"][end] == pytest.approx(total["seconds"][end] * 8 / 3600)
        assert total["energy_kwh"][end] == pytest.approx(total["gpu_hours"][end] / 2)
        assert total["cost"][end] == pytest.approx(total["gpu_hours"][end] * 2)
    assert one["update_s"]["low"] < one["update_s"]["likely"] < one["update_s"]["high"]


EXPORTED = """
  - {name: files, kind: export}
evaluate: {suites: [sums], benchmarks: [asked], max_completion_length: 16}
suites: {sums: {items: 8, data: {generator: {name: reasoning_gym, families: {chain_sum: {}}}}}}
benchmarks: {asked: {human_eval: {}}}
"""


def test_sum_without_what_is_not_known_is_called_the_least(capsys: pytest.CaptureFixture[str]) -> None:
    """An export takes as long as the disk does; of an evaluation with a benchmark the suite alone is known."""
    config = write(BIG.replace("runtime:", EXPORTED.lstrip("\n") + "runtime:"))
    options = (config, "--gpu", "h200", "runtime.micro_batch_size=1", "--price-per-gpu-hour", "2")
    found = planned(capsys, *options)
    known = [one["time"]["total"] for one in found["stages"] if one.get("time") and one["time"]["total"]]
    assert len(known) == 3
    assert found["total"] is None
    assert found["total_at_least"]["cost"]["high"] == pytest.approx(sum(one["cost"]["high"] for one in known))
    assert found["not_in_total"] == ["files", "evaluate-base", "evaluate-sft"]
    assert main(["plan", *options]) == 0
    sums = " ".join(capsys.readouterr().out.partition("to do, at least: ")[2].split())
    assert "; cost " in sums
    assert "; the time of files and the benchmarks of evaluate-base, -sft is not known These figures" in sums
    whole = planned(capsys, write(BIG), *options[1:])
    assert whole["total"] == whole["total_at_least"]
    assert whole["not_in_total"] == []


def test_fill_narrows_the_range_of_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    """Full rows of 4,096 tokens: the likely update is 64 rows x 6.6 B x 6 FLOPs and attention at an MFU of 0.3."""
    options = ("--gpu", "h200", "--fill", "1", "runtime.micro_batch_size=1")
    update = stage(planned(capsys, write(BIG), *options), "sft")["time"]["update_s"]
    flops = 64 / 8 * 4096 * 6 * (6.607e9 + 2 * 32 * 128 * 2048 * 32)
    assert update["likely"] == pytest.approx(flops / (989.4e12 * 0.3), rel=0.1)
    assert update["high"] / update["low"] < 3


def test_unknown_model_is_planned_without_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    config = write(BIG)
    assert main(["plan", config, f"model=nobody/nothing@{COMMIT}", "--gpu", "h200"]) == 0
    shown = capsys.readouterr().out
    assert "memory and time are not estimated: model: nobody/nothing" in shown
    assert "one SFT step = 64 rows" in shown
    assert planned(capsys, config, f"model=nobody/nothing@{COMMIT}")["fits"] is None


def test_rows_without_a_limit_are_not_estimated_and_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", write(PIPELINE), "stages.sft.trainer.max_length=null"]) == 0
    shown = capsys.readouterr().out
    assert "sft is not estimated: stages.sft.trainer.max_length is null" in shown
    assert "grpo" in shown.partition("Time, likely")[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpu", "h90"], "did you mean"),
        (["--gpu", "h101"], "did you mean h100-80gb or h100-80gb-pcie or "),
        (["--gpu", "a100"], "a100-40gb or a100-80gb"),
        (["--gpus", "0"], "--gpus 0: must be at least 1"),
        (["--gpus", "8", "--gpus-per-node", "8"], "give one of them"),
        (["--fill", "1.5"], "above 0 and at most 1"),
        (["--watts", "0"], "--watts 0: must be a number above 0"),
        (["--watts", "nan"], "must be a number above 0"),
        (["--price-per-gpu-hour", "-1"], "must be a number from 0 up"),
        (["runtime.deepspeed_config=absent.json"], "absent.json"),
    ],
)
def test_wrong_options_exit_2_with_one_message(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", write(BIG), *options]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


def test_offloading_of_a_deepspeed_file_moves_the_optimizer_to_the_host(capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.loads((ROOT / "configs" / "deepspeed" / "zero2.json").read_text())
    settings["zero_optimization"]["offload_optimizer"] = {"device": "cpu"}
    Path("offload.json").write_text(json.dumps(settings))
    device = ("--gpu", "h200", "runtime.micro_batch_size=1")
    kept = stage(planned(capsys, write(BIG), *device), "sft")["memory"]
    moved = stage(planned(capsys, write(BIG), *device, "runtime.deepspeed_config=offload.json"), "sft")["memory"]
    assert moved["peak"] < kept["peak"]
    assert moved["host_peak"] > kept["host_peak"]
