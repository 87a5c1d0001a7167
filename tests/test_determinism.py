"""Same seed, same machine: the same bits from every kind of stage, with torch's deterministic algorithms or without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from launch.lineage import prove
from tests.stage_runs import learned, run_stage, stage, weights, write_pipeline
from training.record import read_record, weights_sha256

KINDS = ("sft", "dpo", "grpo", "sample", "measure")
FILES = ("samples.jsonl", "data.jsonl", "draws.jsonl", "items.jsonl")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A stage of each kind, all from the base."""
    (tmp_path / "items.jsonl").write_text("".join(f'{{"prompt": "Say {n}", "answer": "{n}"}}\n' for n in range(6)))
    suites = {"easy": {"data": {"path": str(tmp_path / "items.jsonl")}, "items": 6, "exclude_training_prompts": False}}
    made = [stage(kind, folder=tmp_path, rows=8, **{"from": "base"}) for kind in KINDS[:-1]]
    measure = {"name": "measure", "kind": "evaluate", "from": "base", "suites": ["easy"], "max_completion_length": 8}
    return write_pipeline(tmp_path, *made, measure, suites=suites)


@pytest.fixture
def _settings_kept() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.usefixtures("_settings_kept")
def test_same_seed_gives_the_same_bits_in_every_kind_of_stage(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The random numbers of the process differ before each stage, as those of two processes would."""
    monkeypatch.delenv("FLASH_ATTENTION_DETERMINISTIC", raising=False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for place, options in enumerate([(), ("--set", "runtime.deterministic=true")]):
        for kind in KINDS:
            torch.manual_seed(place)
            assert run_stage(config, kind, "--run-dir", str(tmp_path / str(place)), *options) == 0
    assert torch.are_deterministic_algorithms_enabled()
    for kind in KINDS:
        one, other = (next((tmp_path / str(place)).glob(f"*-{kind}-*")) for place in (0, 1))
        for name in FILES:
            if (one / name).is_file():
                assert (one / name).read_bytes() == (other / name).read_bytes()
        if kind in ("sft", "dpo", "grpo"):
            ours, theirs = weights(one), weights(other)
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
            assert learned(one) == learned(other)
            record = read_record(one)
            assert record is not None
            digest = record["files"]["model/model.safetensors"]
            assert weights_sha256(record) == digest
            assert f"weights: seed 17 -> sha256 {digest}" in prove(one).text


def test_weights_in_several_files_have_one_hash_that_follows_all_of_them() -> None:
    files = {"model/a.safetensors": "1" * 64, "model/b.safetensors": "2" * 64, "model/config.json": "3" * 64}
    digest = weights_sha256({"files": files})
    assert digest == weights_sha256({"files": files | {"model/config.json": "4" * 64}})
    assert digest != weights_sha256({"files": files | {"model/b.safetensors": "4" * 64}})
    assert weights_sha256({"files": {"items.jsonl": "1" * 64}}) is None
