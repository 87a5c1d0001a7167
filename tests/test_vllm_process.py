"""The pipes to vLLM's process, its death, its refusals and its environment; and the checksum both ends agree on."""

import gc
import json
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from data.errors import UserError
from launch.doctor_finding import Machine
from launch.doctor_software import vllm
from training.config.vllm import Vllm
from training.vllm_environment import require_vllm, vllm_versions
from training.vllm_process import EngineFailed, EngineProcess
from training.weight_checksum import CHUNK, weight_checksum

ANSWERS = """\
import json, os, sys
jobs, answers = os.fdopen(int(sys.argv[3])), os.fdopen(int(sys.argv[4]), "w")
for line in jobs:
    job = json.loads(line)
    if job.get("job") == "die":
        os._exit(3)
    answer = {"environment": dict(os.environ), "got": job} if job.get("job") == "tell" else {"ready": True}
    if job.get("job") == "refuse" or job.get("model") == "missing":
        answer = {"failed": "ValueError: no"}
    print(json.dumps(answer), file=answers, flush=True)
"""


@pytest.fixture
def python(tmp_path: Path) -> str:
    """An executable that answers as ANSWERS says, whatever module it is asked to run."""
    script, path = tmp_path / "answers.py", tmp_path / "python"
    script.write_text(ANSWERS)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_jobs_go_there_and_answers_come_back(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    engine = EngineProcess(python, {"model": "here"}, threads=3)
    prompts = [list(range(2000)) for _ in range(64)]  # more than a pipe holds
    answer = engine.ask("tell", prompts=prompts)
    assert answer["got"] == {"job": "tell", "prompts": prompts}
    environment = answer["environment"]
    assert not environment.keys() & {"RANK", "WORLD_SIZE", "MASTER_PORT", "WANDB_API_KEY"}
    assert (environment["OMP_NUM_THREADS"], environment["VLLM_CPU_KVCACHE_SPACE"]) == ("3", "7")
    assert environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    engine.close()


def test_files_it_leaves_in_its_temporary_folder_go_with_it(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is closed or does not even start."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    engine = EngineProcess(python, {"model": "here"}, threads=1)
    own = Path(engine.ask("tell")["environment"]["TMPDIR"])
    assert own.parent == temporary
    (own / "left").write_text("a rendezvous")
    engine.close()
    assert list(temporary.iterdir()) == []
    with pytest.raises(EngineFailed):
        EngineProcess(python, {"model": "missing"}, threads=1)
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_process_that_dies_says_how_and_during_what(python: str) -> None:
    engine = EngineProcess(python, {"model": "here"}, threads=1)
    with pytest.raises(EngineFailed, match="ended with exit code 3 during die"):
        engine.ask("die")
    with pytest.raises(EngineFailed, match="ended with exit code 3 during tell"):
        engine.ask("tell")


def test_a_killed_process_is_heard_at_once(python: str) -> None:
    engine = EngineProcess(python, {"model": "here"}, threads=1)
    engine._child.process.kill()
    began = time.monotonic()
    with pytest.raises(EngineFailed, match="ended with signal 9 during tell"):
        engine.ask("tell")
    assert time.monotonic() - began < 10


def test_what_vllm_refuses_is_told_in_its_words_and_it_lives_on(python: str) -> None:
    engine = EngineProcess(python, {"model": "here"}, threads=1)
    with pytest.raises(EngineFailed, match="failed during refuse: ValueError: no"):
        engine.ask("refuse")
    assert engine.ask("tell")["got"] == {"job": "tell"}
    engine.close()
    with pytest.raises(EngineFailed, match="failed during start: ValueError: no"):
        EngineProcess(python, {"model": "missing"}, threads=1)


def test_checksum_heeds_no_order_layout_or_padding() -> None:
    """q, k and v joined, a transposed matrix, zeros for a vocabulary's padding, and chunks of any length."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(rows, 24, generator=generator) for rows in (16, 8, 8))
    embedding = torch.randn(CHUNK // 4 + 3, 8, generator=generator)
    padded = torch.cat([embedding, torch.zeros(61, 8)])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        plain = weight_checksum(each.to(dtype) for each in (q, k, v, embedding))
        assert plain == weight_checksum(each.to(dtype) for each in (padded.T, torch.cat([q, k, v])))


def test_checksum_sees_one_changed_missing_or_doubled_element_and_another_precision() -> None:
    weights = torch.randn(64, 32, generator=torch.Generator().manual_seed(2))
    changed, negated, lost = weights.clone(), weights.clone(), weights.clone()
    changed[3, 4] = torch.nextafter(changed[3, 4], torch.tensor(9.0))
    negated[3, 4] *= -1
    lost[3, 4] = 0.0
    sums = [weight_checksum([each]) for each in (weights, changed, negated, lost, weights.bfloat16())]
    sums += [weight_checksum([weights, weights]), weight_checksum([])]
    assert len(set(sums)) == 7


def test_checksum_by_hand() -> None:
    """1.0 is 0x3f800000: multiply, fold the upper half down, multiply, modulo 2**64; two of them give twice that."""
    mixed = 0x3F800000 * 0x9E3779B185EBCA87 % 2**64
    mixed = (mixed ^ (mixed >> 32)) * 0xC2B2AE3D27D4EB4F % 2**64
    assert weight_checksum([torch.ones(1)]) == f"{mixed:016x}"
    assert weight_checksum([torch.ones(2)]) == f"{2 * mixed % 2**64:016x}"


def pipeline(**fields: Any) -> Any:
    class Runtime:
        vllm = Vllm(**fields)

    class Pipeline:
        runtime = Runtime

    return Pipeline


def test_modes_of_trl_are_refused_by_name_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.vllm_environment.has_accelerator", lambda: False)
    for fields in ({"mode": "colocate"}, {"mode": "server", "server": "http://localhost:8000"}):
        with pytest.raises(UserError, match=rf"runtime.vllm.mode {fields['mode']}: .*CUDA.* mode: process"):
            require_vllm(pipeline(**fields))


def test_an_environment_without_vllm_is_refused_with_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\necho '{json.dumps({'torch': '2.13.0'})}'\n")
    path.chmod(0o755)
    with pytest.raises(UserError, match=f"{path} has no vLLM; install it there: {path} -m pip install vllm"):
        require_vllm(pipeline(mode="process", python=str(path)))
    with pytest.raises(UserError, match=r"no Python that answers .*; write the path of the interpreter"):
        require_vllm(pipeline(mode="process", python=str(tmp_path / "nothing")))


def test_doctor_tells_what_vllm_there_is_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "python"
    for answer, state, words in (({"vllm": "0.31.0", "torch": "2.13.0"}, "ok", "mode process, vllm 0.31.0"),
                                 ({}, "fail", "mode process cannot be used")):  # fmt: skip
        path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
        path.chmod(0o755)
        (finding,) = vllm(Machine(pipeline(mode="process", python=str(path)), {}))
        assert finding.state == state
        assert words in finding.found
    assert list(vllm(Machine(None, {}))) == []


def test_versions_are_those_of_the_environment_asked() -> None:
    assert vllm_versions(sys.executable)["torch"] == metadata.version("torch")
