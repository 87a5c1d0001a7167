"""A reward model in GRPO beside rewards by rule: which rows it scores, what the stage records, resume and ranks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from data.errors import UserError
from tests.stage_runs import learned, planned, run_stage, stage, write_pipeline
from tests.test_ranks_real import assert_two_ranks_did_it, folder_of, start_ourselves, two_ranks
from tests.test_resume import CHECKPOINTS, ROUND_OF_TWO_STEPS, assert_same, dies_at_step
from tests.test_reward_model import reward_stage
from tests.test_trainers_parity import chat
from training.config import load_pipeline
from training.config.scorers import REWARD_MODEL, RewardModelScore
from training.config.stage_parts import RewardSpec
from training.estimate.memory import memory
from training.estimate.shape import shape_of
from training.estimate.workload import Workload
from training.model_reward import TOO_LONG, ModelReward
from training.record import read_record
from training.reward_functions import RewardAdapter
from training.reward_scores import RewardModelScorer
from training.rewards.scoring import RewardErrors, Scorer
from training.stages import check_data_files


def routed_stage(folder: Path, **fields: Any) -> dict[str, Any]:
    """GRPO of seven steps on six prompts, every other one with an answer; the reward model scores those without."""
    block = {"model": "stage:rm", "weight": 0.5, "without": "answer"}
    trainer = ROUND_OF_TWO_STEPS | {"max_steps": 7}
    made = stage("grpo", folder=folder, reward_model=block, trainer=trainer, **fields)
    rows = [{"prompt": f"Count {n}"} | ({"answer": str(n)} if n % 2 else {}) for n in range(6)]  # the first has none
    Path(made["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of a reward model and GRPO with it, both run."""
    folder = tmp_path_factory.mktemp("routed")
    config = write_pipeline(folder, reward_stage(folder, steps=2), routed_stage(folder))
    assert [run_stage(config, name) for name in ("rm", "grpo")] == [0, 0]
    return config


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_rows_with_an_answer_are_left_to_the_rules_and_the_others_get_the_model_s_score(trained: Path) -> None:
    """Advantages of a group are the totals' distances from their mean over their deviation (arXiv 2402.03300)."""
    rows = samples(planned(trained, "grpo").folder)
    scorer = RewardModelScorer(planned(trained, "rm").folder / "model", "float32", torch.device("cpu"), cached=False)
    groups = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    answered = [group for group in groups if int(group[0]["prompt"].split()[1]) % 2]
    others = [group for group in groups if group not in answered]
    assert answered
    assert others
    assert all(row["rewards"][REWARD_MODEL] is None for group in answered for row in group)
    for group in others:
        scores = [row["rewards"][REWARD_MODEL] for row in group]
        expected = scorer.score(chat("user", group[0]["prompt"]), [row["completion"] for row in group])
        assert scores == pytest.approx(expected, abs=1e-5)
        totals = torch.tensor([row["rewards"]["length"] + 0.5 * row["rewards"][REWARD_MODEL] for row in group])
        by_hand = (totals - totals.mean()) / (totals.std() + 1e-4)
        assert [row["advantage"] for row in group] == pytest.approx(by_hand.tolist(), abs=1e-3)
    assert any(f"reward/{REWARD_MODEL}" in step for step in learned(planned(trained, "grpo").folder))


def test_a_column_that_no_row_has_leaves_no_row_to_the_rules_and_is_refused(tmp_path: Path) -> None:
    made = routed_stage(tmp_path)
    made["reward_model"]["without"] = "anwser"
    pipeline = load_pipeline(write_pipeline(tmp_path, reward_stage(tmp_path, steps=2), made))
    with pytest.raises(UserError, match=r"stages\.grpo\.reward_model\.without: no row has a column 'anwser'"):
        check_data_files(pipeline)


def test_record_and_fingerprint_hold_the_reward_model(trained: Path) -> None:
    stage_planned = planned(trained, "grpo")
    record = read_record(stage_planned.folder)
    assert record is not None
    assert [parent["stage"] for parent in record["parents"]] == ["base", "rm"]
    assert record["rewards"][-1] == {"name": REWARD_MODEL, "model": "stage:rm", "weight": 0.5, "without": "answer"}
    print_of = {
        override: planned(trained, "grpo", override).fingerprint
        for override in (
            "stages.rm.seed=5",
            "stages.grpo.reward_model.weight=0.25",
            "stages.grpo.reward_model.without=null",
            "stages.grpo.reward_model=null",
        )
    }
    assert len({stage_planned.fingerprint, *print_of.values()}) == 5
    folder = str(planned(trained, "rm").folder / "model")
    from_folder = planned(trained, "grpo", f"stages.grpo.reward_model.model={folder}")
    assert from_folder.parents == ["base"]
    assert "score" not in from_folder.identity["experiment"]["reward_model"]
    assert "model.safetensors" in from_folder.identity["drawing"]["reward_model"]["files"]


def test_grpo_with_a_reward_model_resumes_bit_identically(trained: Path, tmp_path: Path) -> None:
    """The process dies in the middle of a rollout round, two steps after its checkpoint."""
    runs = ("--run-dir", str(tmp_path))
    assert run_stage(trained, "rm", *runs) == 0
    dies_at_step(5, trained, "grpo", *runs, *CHECKPOINTS)
    assert run_stage(trained, "grpo", *runs, *CHECKPOINTS) == 0
    assert_same(folder_of(trained, tmp_path, "grpo"), planned(trained, "grpo").folder)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 3])
def test_grpo_with_a_reward_model_trains_on_two_ranks(trained: Path, tmp_path: Path, zero_stage: int) -> None:
    """Each rank scores what it drew, with a whole copy under ZeRO-3 too; a score does not depend on the ranks."""
    two = tmp_path / "two"
    assert run_stage(trained, "rm", "--run-dir", str(two)) == 0
    assert start_ourselves(trained, "grpo", two, two_ranks(zero_stage)) == 0
    folder = folder_of(trained, two, "grpo")
    assert_two_ranks_did_it(folder, zero_stage)
    scorer = RewardModelScorer(planned(trained, "rm").folder / "model", "float32", torch.device("cpu"), cached=False)
    rows = samples(folder)
    for row in rows:
        score = row["rewards"][REWARD_MODEL]
        answered = int(row["prompt"].split()[1]) % 2
        expected = None if answered else scorer.score(chat("user", row["prompt"]), [row["completion"]])[0]
        assert score == (None if answered else pytest.approx(expected, abs=1e-5))
    assert {int(row["prompt"].split()[1]) % 2 for row in rows} == {0, 1}


def adapter(score: Any, without: str | None = None, max_error_rate: float = 1.0) -> RewardAdapter:
    """Rewards `answer` and a reward model with this function."""
    model = ModelReward(RewardModelScore(model="a/b@main", weight=2.0, without=without), score)
    return RewardAdapter(Scorer([RewardSpec(name="answer")], max_error_rate), model)


def test_conversation_beyond_the_context_makes_a_completion_unscorable_for_all() -> None:
    """Else the rest of its rewards would count as its total."""
    asked: list[tuple[str, list[str]]] = []

    def score(prompt: list[dict[str, str]], completions: list[str]) -> list[float | None]:
        asked.append((prompt[-1]["content"], completions))
        return [None if text == "7" else 0.25 * len(text) for text in completions]

    made = adapter(score)
    prompts = [chat("user", "a"), chat("user", "a"), chat("user", "b")]
    found = made.score(prompts, ["7", "8", "no"], [[1]] * 3, {"answer": ["7", "7", None]})
    assert asked == [("a", ["7", "8"]), ("b", ["no"])]
    assert found.per_reward == {"answer": [None, 0.0, None], REWARD_MODEL: [None, 0.25, 0.5]}
    assert found.total == [None, 0.5, 1.0]
    assert found.errors == [TOO_LONG, None, None]
    assert made.scorer.num_errors == 1
    assert list(made.weights.items()) == [("answer", 1.0), (REWARD_MODEL, 2.0)]
    assert [function.__name__ for function in made.functions] == list(made.weights)
    made.scorer.close()


def test_too_many_conversations_beyond_the_context_stop_the_run() -> None:
    made = adapter(lambda prompt, completions: [None] * len(completions), "answer", max_error_rate=0.5)
    columns = {"answer": ["1"] * 8 + [None] * 12}
    with pytest.raises(RewardErrors, match=r"12 of 20 completions could not be scored .* exceeds the model.s context"):
        made.score([chat("user", "a")] * 20, ["1"] * 20, [[1]] * 20, columns)
    made.scorer.close()


def test_plan_counts_the_reward_model_beside_the_policy() -> None:
    """In bf16 two bytes a parameter, in every phase, on top of what the stage takes without one."""
    shape = shape_of({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                      "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 259,
                      "max_position_embeddings": 512, "tie_word_embeddings": True})  # fmt: skip
    plain = Workload("grpo", compute_dtype="bfloat16", sequence_length=32, prompt_length=16, completion_length=16)
    scored = Workload(**{**vars(plain), "scoring_parameters": 1000})
    for before, after in zip(memory(shape, plain).phases[1:], memory(shape, scored).phases[1:], strict=True):
        assert after.total - before.total == pytest.approx(2000)
