"""`runtime.profile`: a trace and a table of the steps asked for, no part of the experiment, refused where beyond it."""

import gzip
import json
from pathlib import Path

import pytest

from tests.stage_runs import planned, run_stage, stage, weights, write_pipeline
from training.config import load_pipeline
from training.config.errors import ConfigError
from training.record import read_record


def config(folder: Path, steps: list[int] | None, max_steps: int = 4, **profile: object) -> Path:
    runtime = {} if steps is None else {"profile": {"steps": steps, **profile}}
    return write_pipeline(
        folder, stage("sft", rows=32, folder=folder, trainer={"max_steps": max_steps}), runtime=runtime
    )


def test_profile_leaves_a_trace_and_a_table_and_changes_no_weight(tmp_path: Path) -> None:
    import torch

    plain, profiled = tmp_path / "plain", tmp_path / "profiled"
    for folder, steps in ((plain, None), (profiled, [2, 3])):
        folder.mkdir()
        assert run_stage(config(folder, steps), "sft") == 0
    stages = [planned(config(plain, None), "sft"), planned(config(profiled, [2, 3]), "sft")]
    folder = stages[1].folder
    names = sorted(path.name for path in (folder / "profile").iterdir())
    assert names == ["steps-2-3.rank0.top20.txt", "steps-2-3.rank0.trace.json.gz"]
    with gzip.open(folder / "profile" / names[1]) as trace:
        events = json.load(trace)["traceEvents"]
    assert sum(event.get("name") == "Optimizer.step#AdamW.step" for event in events) == 2
    assert "aten::" in (folder / "profile" / names[0]).read_text()
    assert not any(name.startswith("profile/") for name in read_record(folder)["files"])
    before, after = (weights(stage.folder) for stage in stages)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_profile_is_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    fingerprints = {planned(config(one, steps), "sft").fingerprint for steps in (None, [1, 2], [3, 4])}
    assert len(fingerprints) == 1


def test_steps_beyond_every_stage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.profile\.steps.*lie beyond every stage \(sft 4 steps\).*1 to 4"):
        load_pipeline(config(tmp_path, [5, 6]))


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        ([3, 2], {}, r"the last is before the first; write \[2, 3\]"),
        ([0, 2], {}, "steps"),
        ([2], {}, "steps"),
        ([1, 2], {"ranks": [1]}, "names rank 1, but processes is 1"),
    ],
)
def test_steps_or_ranks_that_cannot_be_are_refused(
    tmp_path: Path, steps: list[int], more: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_pipeline(config(tmp_path, steps, **more))


def test_steps_beyond_the_end_of_a_stage_without_max_steps_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """32 rows of batches of 8 are 4 steps; the profile begins in step 4 and ends with the stage."""
    block = stage("sft", rows=32, folder=tmp_path, trainer={"num_train_epochs": 1})
    del block["trainer"]["max_steps"]
    path = write_pipeline(tmp_path, block, runtime={"profile": {"steps": [4, 9]}})
    assert run_stage(path, "sft") == 0
    assert "go beyond this stage's 4 steps" in capsys.readouterr().out
    names = [path.name for path in (planned(path, "sft").folder / "profile").iterdir()]
    assert sorted(names) == ["steps-4-4.rank0.top20.txt", "steps-4-4.rank0.trace.json.gz"]
