"""`rollout: vllm` and `runtime.vllm`: what is accepted, what is refused and with which words, what is identity."""

from pathlib import Path

import pytest

from launch.plan_text import plan_text
from launch.rehearse import overrides_of
from tests.config_files import PIPELINE, changed, write
from training.config import ConfigError, Pipeline, load_pipeline
from training.plan import RunPlan, plan_run
from training.rehearsal_overrides import gpu_replacements
from training.trainer_args import build_arguments

PROCESS = "runtime.vllm={mode: process}"
COLOCATE = "runtime.vllm={mode: colocate}"
SERVER = "runtime.vllm={mode: server, server: 'http://node7:8000'}"
TEXT = changed("rewards: [answer, format]", "rewards: [answer, format]\n    rollout: vllm")


def planned(folder: Path, *overrides: str, text: str = TEXT) -> tuple[Pipeline, RunPlan]:
    pipeline = load_pipeline(write(folder, text), list(overrides))
    return pipeline, plan_run(pipeline, folder / "run")


@pytest.mark.parametrize("mode", [PROCESS, COLOCATE, SERVER])
def test_the_three_modes_are_accepted_and_told_by_plan(tmp_path: Path, mode: str) -> None:
    pipeline, plan = planned(tmp_path, mode)
    name = pipeline.runtime.vllm.mode if pipeline.runtime.vllm is not None else None
    assert f"grpo: completions by vLLM (mode {name}), whose memory and speed are not estimated" in plan_text(
        pipeline, plan
    )


REFUSED = {
    "no word on where": ((), "stages.grpo.rollout", "say how it is reached: runtime.vllm: {mode: colocate}"),
    "another backend": (("stages.grpo.rollout=sglang",), "stages.grpo.rollout", "transformers or vllm"),
    "server without address": (("runtime.vllm={mode: server}",), "runtime.vllm", "write server: http://HOST:8000"),
    "address of nothing": (
        ("runtime.vllm={mode: server, server: node7}",),
        "runtime.vllm",
        "is no address; write http://HOST",
    ),
    "python of a server": ((SERVER, "runtime.vllm.python=x"), "runtime.vllm", "python would be ignored with mode"),
    "refills": ((PROCESS, "stages.grpo.dynamic_sampling={}"), "dynamic_sampling", "set rollout: transformers"),
    "nucleus": ((PROCESS, "stages.grpo.trainer.top_p=0.9"), "trainer.top_p", "with rollout: vllm use 1.0"),
    "vespo": ((PROCESS, "stages.grpo.trainer.loss_type=vespo"), "trainer.loss_type", "not sequence_mask; write token_"),
    "four bits": (
        (PROCESS, "stages.grpo.lora={quantize: nf4}"),
        "lora.quantize",
        "cannot be sent to vLLM in mode process",
    ),
    "field of another mode": (
        (COLOCATE, "stages.grpo.trainer.vllm_group_port=5000"),
        "trainer.vllm_group_port",
        "ignored with runtime.vllm.mode colocate, which heeds vllm_tensor_parallel_size",
    ),
    "trl's switch": ((PROCESS, "stages.grpo.trainer.use_vllm=true"), "trainer.use_vllm", "the stage's rollout: vllm"),
    "trl's mode": ((PROCESS, "stages.grpo.trainer.vllm_mode=server"), "trainer.vllm_mode", "write runtime.vllm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_ignored_or_wrong_is_refused_with_key_and_fix(tmp_path: Path, name: str) -> None:
    overrides, key, words = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(tmp_path, TEXT), list(overrides))
    assert any(key in line and words in line for line in str(caught.value).splitlines()), str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (PROCESS, "no grpo stage says rollout: vllm"),
        ("stages.grpo.trainer.vllm_importance_sampling_clip_max=2.0", "would be ignored with rollout: transformers"),
    ],
)
def test_settings_of_vllm_without_vllm_are_refused(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_pipeline(write(tmp_path), [override])


def test_the_backend_is_identity_and_where_it_runs_is_not(tmp_path: Path) -> None:
    """A stage that leaves the backend out, or writes the default, keeps the fingerprint it had before there was a
    choice."""
    plain = planned(tmp_path, text=PIPELINE)[1]["grpo"]
    written = planned(tmp_path, "stages.grpo.rollout=transformers", text=PIPELINE)[1]["grpo"]
    assert "rollout" not in plain.identity["experiment"]
    assert plain.fingerprint == written.fingerprint
    found = {planned(tmp_path, mode)[1]["grpo"].fingerprint for mode in (PROCESS, COLOCATE, SERVER)}
    assert len(found) == 1
    assert plain.fingerprint not in found
    clip = planned(tmp_path, PROCESS, "stages.grpo.trainer.vllm_importance_sampling_clip_max=2.0")
    assert clip[1]["grpo"].fingerprint not in found


def test_a_rehearsal_draws_with_our_own_sampler_and_says_so(tmp_path: Path) -> None:
    clip = "stages.grpo.trainer.vllm_importance_sampling_clip_max=2.0"
    pipeline, _ = planned(tmp_path, PROCESS, clip)
    replaced = gpu_replacements(pipeline)
    small = load_pipeline(write(tmp_path, TEXT), [PROCESS, clip, *overrides_of(replaced)])
    grpo = next(stage for stage in small.stages if stage.name == "grpo")
    assert (grpo.rollout, small.runtime.vllm) == ("transformers", None)
    assert grpo.trainer["num_generations"] == 8
    assert "vLLM: posttrain's own sampler" in [each.words for each in replaced]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (PROCESS, (False, "colocate", None)),  # TRL's own switch stays off: training.vllm_rollout turns it on
        (COLOCATE, (True, "colocate", None)),
        (SERVER, (True, "server", "http://node7:8000")),
    ],
)
def test_trl_is_told_of_its_own_modes(tmp_path: Path, mode: str, expected: tuple[bool, str, str | None]) -> None:
    pipeline, _ = planned(tmp_path, mode, "stages.grpo.trainer.bf16=false", "runtime.processes=1")
    stage = next(stage for stage in pipeline.stages if stage.name == "grpo")
    found = build_arguments(stage, pipeline.runtime, 1, tmp_path)
    assert (found.use_vllm, found.vllm_mode, found.vllm_server_base_url) == expected
