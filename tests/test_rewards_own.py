"""Rewards of a user in fingerprints: the file that holds the function, the declared version, and nothing imported."""

from pathlib import Path
from typing import Any

import pytest

from tests.stage_runs import planned, stage, write_pipeline
from training.rewards import REWARDS
from training.rewards.resolve import reward_of

MODULE = "raise RuntimeError('planning runs no user code')\n\n\ndef brevity(completions, prompts, most=5):\n    ...\n"


def fingerprint(folder: Path, **spec: Any) -> str:
    """The fingerprint of a grpo stage with the reward `brevity` of brevity.py in the working directory."""
    reward = {"name": "brevity", "callable": "my_brevity:brevity", "version": 1, **spec}
    config = write_pipeline(folder, stage("grpo", folder=folder, rewards=[reward]))
    return planned(config, "grpo").fingerprint


def test_own_reward_enters_the_fingerprint_by_its_file_version_and_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "my_brevity.py"
    source.write_text(MODULE)
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    source.write_text(MODULE + "# another line\n")
    second = fingerprint(tmp_path)
    assert len({first, second, fingerprint(tmp_path, version=2), fingerprint(tmp_path, most=9)}) == 4


def test_every_default_parameter_of_a_shipped_reward_is_what_its_function_takes() -> None:
    import inspect

    for reward in REWARDS.values():
        taken = inspect.signature(reward.function).parameters
        assert set(reward.parameters) <= set(taken), reward.name
        assert set(reward.columns) <= set(taken), reward.name


def test_reward_of_a_shipped_reward_has_all_parameters() -> None:
    from training.config import RewardSpec

    found = reward_of(RewardSpec.model_validate({"name": "repetition", "ngram": 4}))
    assert found.parameters == {"ngram": 4, "max_penalty": -1.0}
    assert REWARDS["repetition"].parameters["ngram"] == 3
