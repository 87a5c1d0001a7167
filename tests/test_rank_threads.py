"""How many CPU threads a rank has, whoever starts it: the config's, else the user's, else its share of the cores."""

import types

import pytest

from launch.node import world_in_words
from launch.rank_environment import rank_environments, runner_environment
from training.config import Runtime
from training.world import World


def test_rank_environment_threads_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.rank_environment.available_cores", lambda: 8)
    assert {e["OMP_NUM_THREADS"] for e in rank_environments(Runtime(processes=2), False, {})} == {"4"}
    assert rank_environments(Runtime(threads_per_process=3), False, {})[0]["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("written", "set_by_user", "given", "words"),
    [
        (None, "2", "2", "1 rank, OMP_NUM_THREADS 2 (from your environment; runtime.threads_per_process sets it)"),
        (None, "2,4", "2", "1 rank, OMP_NUM_THREADS 2 (from your environment; runtime.threads_per_process sets it)"),
        (3, "2", "3", "1 rank, OMP_NUM_THREADS 3"),
        (None, "all", "8", "1 rank, OMP_NUM_THREADS 8"),
        (None, "0", "8", "1 rank, OMP_NUM_THREADS 8"),
    ],
)
def test_rank_environment_keeps_the_user_s_threads_unless_the_config_says_how_many(
    monkeypatch: pytest.MonkeyPatch, written: int | None, set_by_user: str, given: str, words: str
) -> None:
    monkeypatch.setattr("launch.rank_environment.available_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", set_by_user)
    runtime = Runtime(threads_per_process=written)
    (environment,) = rank_environments(runtime, False)
    assert environment["OMP_NUM_THREADS"] == given
    assert world_in_words(runtime, environment) == words


@pytest.mark.parametrize(
    ("written", "environment", "expected"),
    [
        (None, {"POSTTRAIN_THREADS": "6"}, 6),
        (3, {"POSTTRAIN_THREADS": "6"}, 3),
        (None, {"OMP_NUM_THREADS": "1"}, 4),  # as torchrun sets it
        (None, {"LOCAL_WORLD_SIZE": "1"}, 8),  # one rank a node
    ],
)
def test_a_rank_takes_the_threads_its_starter_chose(
    monkeypatch: pytest.MonkeyPatch, written: int | None, environment: dict[str, str], expected: int
) -> None:
    """Two ranks, eight cores a node."""
    import torch

    from training.run_stage import set_threads

    for name in ("POSTTRAIN_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("training.run_stage.available_cores", lambda: 8)
    taken: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    pipeline = types.SimpleNamespace(runtime=Runtime(processes=2, threads_per_process=written))
    set_threads(types.SimpleNamespace(pipeline=pipeline, world=World(0, 0, 2)))  # type: ignore[arg-type]
    assert taken == [expected]


def test_runner_environment_leaves_the_threads_to_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OMP_NUM_THREADS" not in runner_environment(False, {})
    assert runner_environment(False, {"OMP_NUM_THREADS": "5"})["OMP_NUM_THREADS"] == "5"
    assert "POSTTRAIN_THREADS" not in runner_environment(False, {})
