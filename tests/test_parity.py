"""The parity proof: its estimate by hand, when it is due, a run in which it stays flat, and runs that it stops."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import training.grpo
from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline
from training.parity import PARITY_ROWS, ParityProof, compare
from training.rollout import Sampling


def test_compare_by_hand() -> None:
    """Differences ln 2 and -ln 2: exp(d) - 1 - d is 1 - ln 2 and -1/2 + ln 2, their mean 1/4."""
    half = math.log(0.5)
    kl, worst = compare([(half, 0.0), (0.0, half)])
    assert kl == pytest.approx(0.25)
    assert worst == pytest.approx(math.log(2))
    assert compare([(-1.0, -1.0)]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("every", "steps_a_round", "due"),
    [(1, 1, [0, 1, 2, 3, 4, 5]), (3, 1, [0, 3]), (3, 2, [0, 4]), (100, 2, [0]), (None, 1, [])],
)
def test_proof_is_due_before_the_first_step_and_whenever_as_many_have_passed(
    every: int | None, steps_a_round: int, due: list[int]
) -> None:
    context: Any = SimpleNamespace(stage=SimpleNamespace(parity=SimpleNamespace(every=every, rows=8)))
    args = SimpleNamespace(steps_per_generation=2 * steps_a_round, gradient_accumulation_steps=2)
    found = []
    for step in range(0, 6, steps_a_round):
        state = SimpleNamespace(global_step=step)
        trainer = SimpleNamespace(args=args, num_iterations=1, state=state, temperature=1.0)
        if ParityProof(context).observer(trainer) is not None:
            found.append(step)
    assert found == due


def pipeline(folder: Path, steps: int, parity: dict[str, Any], **trainer: Any) -> Path:
    block = stage("grpo", folder=folder, rows=24, trainer={"max_steps": steps, **trainer}, parity=parity)
    block["health"] = {"silent_groups": "off"}
    return write_pipeline(folder, block)


def test_parity_stays_flat_over_20_steps_at_learning_rate_0(tmp_path: Path) -> None:
    config = pipeline(tmp_path, 20, {"every": 1}, learning_rate=0.0, temperature=0.7)
    assert run_stage(config, "grpo") == 0
    rows = metrics(planned(config, "grpo").folder)
    kls = [row["parity/mean_kl"] for row in rows]
    assert len(kls) == 20
    assert max(kls) < 1e-8
    assert max(row["parity/max_abs_logp_diff"] for row in rows) < 1e-4


def test_parity_above_its_limit_stops_before_the_first_step_and_leaves_the_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trainer scores at temperature 1, the sampler draws and reports at 1/4."""
    config = pipeline(tmp_path, 2, {})
    observer = training.parity.Observer

    def colder(*arguments: Any, **options: Any) -> Any:
        return Sampling(arguments[0], 0.25)

    monkeypatch.setattr(training.grpo, "Sampling", colder)
    monkeypatch.setattr(training.parity, "Observer", lambda rows, temperature: observer(rows, 0.25))
    assert run_stage(config, "grpo") == 4
    folder = planned(config, "grpo").folder
    left = [json.loads(line) for line in (folder / PARITY_ROWS).read_text().splitlines()]
    assert len(left) == 8
    assert all(len(row["tokens"]) == len(row["sampler_logps"]) == len(row["trainer_logps"]) for row in left)
    assert "Count" in left[0]["prompt"]
    assert "parity at step 1" in capsys.readouterr().err
    assert not (folder / "model").exists()


def test_a_sampler_without_a_single_number_is_as_far_as_can_be() -> None:
    assert compare([]) == (math.inf, math.inf)
