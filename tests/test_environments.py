"""Environments of grpo: state that a completion's calls change and rewards read, resumed and on two ranks."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import training.grpo
from data.errors import UserError
from data.number_guessing import TOOL, games, played
from tests.stage_runs import learned, planned, run_stage, stage, write_pipeline
from tests.test_ranks_real import ROOT, assert_two_ranks_did_it, folder_of, start_ourselves, two_ranks
from tests.test_resume import assert_learned_the_same, dies_at_step
from training.bundled import materialise
from training.config import ConfigError, load_pipeline
from training.environments import environment_state, load_environment, reset_states
from training.models import load_tokenizer
from training.number_guessing import NumberGuessing
from training.rewards.environment_state import EnvironmentState
from training.rollout import generate

OWN = {"name": "number_guessing"}


# the shipped environment


def game(secret: int, *guesses: int, high: int = 15) -> NumberGuessing:
    world = NumberGuessing()
    world.reset(prompt=[], secret=secret, low=1, high=high, seed=0)
    for number in guesses:
        world.guess(number)
    return world


@pytest.mark.parametrize(
    ("guesses", "reward"),
    [
        ((), 0.0),
        ((8, 4, 2), 0.0),
        ((5,), 1.0),
        ((8, 4, 6, 5), 1.0),  # 15 numbers need four guesses by halving
        ((1, 2, 3, 4, 5), 0.9),
        ((*range(15, 4, -1),), 0.3),
        ((*(1,) * 30, 5), 0.1),
    ],
)
def test_number_guessing_pays_for_few_guesses(guesses: tuple[int, ...], reward: float) -> None:
    """secret 5 of 1 to 15: a tenth less for each guess beyond the fourth."""
    assert game(5, *guesses).get_reward() == pytest.approx(reward)


def test_number_guessing_answers_and_begins_anew() -> None:
    world = game(5)
    assert [world.guess(8), world.guess(4), world.guess(5)] == ["lower", "higher", "That is the number."]
    with pytest.raises(ValueError, match="found already"):
        world.guess(5)
    world.reset(secret=9, low=1, high=15)
    assert (world.guesses, world.solved, world.get_reward()) == ([], False, 0.0)
    for bad in ("5", 5.0, True, None):
        with pytest.raises(ValueError, match="whole number"):
            world.guess(bad)  # type: ignore[arg-type]
    assert world.guesses == []
    with pytest.raises(ValueError, match="not between"):
        world.reset(secret=16, low=1, high=15)


def test_played_games_are_those_that_the_environment_would_answer() -> None:
    """Every answer in the conversations is the environment's own, and halving earns full marks."""
    for asked, row in zip(games(20, 15, 3), played(20, 15, 3), strict=True):
        world = game(asked["secret"])
        turns = row["messages"][1:-1]
        for call, told in zip(turns[::2], turns[1::2], strict=True):
            (one,) = call["tool_calls"]
            assert world.guess(**one["function"]["arguments"]) == told["content"]
        assert world.get_reward() == 1.0
        assert row["messages"][-1]["content"] == f"It is {asked['secret']}."


def test_conversations_tell_of_the_method_as_the_environment_does() -> None:
    from transformers.utils.chat_template_utils import get_json_schema

    assert get_json_schema(NumberGuessing().guess) == TOOL


# what reaches the rewards


class World:
    def __init__(self) -> None:
        self.count, self.names, self._secret, self.lock = 2, ("a", "b"), "x", object()

    def reset(self, **columns: Any) -> None:
        self.count = 0

    def get_reward(self) -> float:
        raise RuntimeError("broken")


def test_rewards_read_the_plain_state_and_what_they_cannot_read_is_named() -> None:
    sent = json.loads(json.dumps(environment_state(World())))
    state = EnvironmentState(sent)
    assert (state.count, state.names) == (2, ["a", "b"])
    with pytest.raises(AttributeError, match="lock is no number"):
        _ = state.lock
    with pytest.raises(AttributeError, match="no attribute _secret; it has count, names"):
        _ = state._secret
    with pytest.raises(RuntimeError, match="get_reward of the environment: RuntimeError: broken"):
        state.get_reward()


# configuration


def pipeline(folder: Path, **fields: Any) -> Path:
    trainer = {"max_completion_length": 160, "generation_batch_size": 16, "max_steps": 4} | fields.pop("trainer", {})
    top = fields.pop("top", {})
    data = {"callable": "data.number_guessing:games", "version": 1, "arguments": {"rows": 6, "high": 15, "seed": 1}}
    block: dict[str, Any] = {
        "environment": "number_guessing",
        "chat_template": "qwen3-instruct-2507",
        "allow_template_change": True,
        "rewards": [
            "environment",
            {"name": "length", "weight": 0.1, "max_length": 64, "buffer": 60, "unit": "characters"},
        ],
        "data": data,
        "parity": {"every": None},  # scripted turns tell no observer what the model thought of them
    }
    return write_pipeline(folder, stage("grpo", folder=folder, rows=6, trainer=trainer, **(block | fields)), **top)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"environment": "number_gessing"}, r"environment.*is no environment.*number_guessing"),
        ({"environment": {"callable": "nowhere:World", "version": 1}}, "there is no module nowhere"),
        ({"environment": {"callable": "nowhere:World"}}, "a callable needs a version"),
        ({"environment": None}, r"rewards\[0\].*judges an environment, and this stage has none"),
        ({"dynamic_sampling": {}}, "scores completions before their tools are called; remove it or environment"),
        ({"top": {"runtime": {"zero_stage": 3, "processes": 2}}}, "ZeRO-3 gathers the weights"),
        (
            {"rollout": "vllm", "top": {"runtime": {"vllm": {"mode": "colocate"}}}},
            "environment.*has turns that posttrain draws itself",
        ),
    ],
)
def test_environments_that_cannot_work_are_refused(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_pipeline(pipeline(tmp_path, **fields))


CLASSES = '''
class Shop:
    def reset(self, **columns):
        self.bought = []

    def buy(self, item: str) -> str:
        """
        Buy an item.

        Args:
            item: What to buy.
        """
        self.bought.append(item)
        return f"bought {item}"


class NoReset:
    buy = Shop.buy


class Strict(Shop):
    def reset(self, secret):
        pass


class NoTools:
    def reset(self, **columns):
        pass


class Untold(Shop):
    def sell(self, item):
        pass


class Needy(Shop):
    def __init__(self, prices):
        pass


def shop():
    return Shop()
'''


def spec(name: str) -> Any:
    from training.config.stage_parts import EnvironmentSpec

    return EnvironmentSpec.model_validate({"callable": f"own_worlds:{name}", "version": 1})


@pytest.fixture
def own_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_worlds", raising=False)  # another test's
    path = tmp_path / "own_worlds.py"
    path.write_text(CLASSES)
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NoReset", r"stages.s.environment: NoReset has no reset\(\*\*columns\)"),
        ("Strict", r"Strict.reset gets every column of the row; add \*\*columns"),
        ("NoTools", "NoTools has no method but reset and get_reward"),
        ("Untold", "environment.sell: sell needs a type for every argument"),
        ("Needy", "Needy is made without arguments"),
        ("Absent", "defines no class or function Absent"),
    ],
)
def test_classes_that_are_no_environment_are_refused(own_worlds: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_environment(spec(name), "s", [])


def test_own_environments_are_identified_by_their_file(own_worlds: Path, tmp_path: Path) -> None:
    assert load_environment(spec("shop"), "s", [])().reset() is None
    with pytest.raises(UserError, match="the model calls two tools buy"):
        load_environment(spec("Shop"), "s", ["buy"])
    block = {"environment": {"callable": "own_worlds:Shop", "version": 1}, "rewards": ["format"]}
    config = pipeline(tmp_path, **block)
    first = planned(config, "grpo").fingerprint
    own_worlds.write_text(CLASSES.replace("bought {item}", "got {item}"))
    assert planned(config, "grpo").fingerprint != first
    shipped = planned(pipeline(tmp_path), "grpo").identity["experiment"]["environment"]
    assert shipped == {"name": "number_guessing", "version": 1}


def test_a_trial_of_rewards_sees_the_state_before_any_call(tmp_path: Path) -> None:
    stage_of = load_pipeline(pipeline(tmp_path)).stages[0]
    (row,) = reset_states(stage_of, [{"prompt": [], "secret": 4, "low": 1, "high": 9}])
    assert EnvironmentState(row["environments"]).guesses == []
    assert EnvironmentState(row["environments"]).get_reward() == 0.0


# a stage whose first turns are scripted; later turns are the model's own


CALL = '<tool_call>\n{{"name": "guess", "arguments": {{"number": {}}}}}\n</tool_call>'


def scripted(
    model: Any, prompt_ids: Any, draws: int, sampling: Any, eos: Any, seed: int, *rest: Any, **more: Any
) -> Any:
    """First turns (several draws) guess a number, but for every fourth; what follows is drawn from the model."""
    if draws == 1:
        return generate(model, prompt_ids, draws, sampling, eos, seed, *rest, **more)
    tokenizer = load_tokenizer(materialise("tiny-random"))
    places = range(len(prompt_ids) * draws)
    texts = ["No." if place % 4 == 3 else CALL.format((seed + place) % 15 + 1) for place in places]
    return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a finished stage."""
    config = pipeline(tmp_path_factory.mktemp("environment"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.grpo, "generate", scripted)
        assert run_stage(config, "base") == 0
        assert run_stage(config, "grpo") == 0
    return config


def test_each_completion_acts_in_a_world_of_its_own_and_is_paid_by_its_state(whole: Path) -> None:
    """A guess is right for the completion that made it alone: the reward is 1 exactly where the tool said so."""
    folder = planned(whole, "grpo").folder
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 32
    assert sum("[calls guess(" in row["completion"] for row in rows) == 24
    told = [row["completion"].split("[guess answers] ")[1] for row in rows if "[guess answers] " in row["completion"]]
    answers = {each.split("\n")[0] for each in told}
    assert answers == {"higher", "lower", "That is the number."}
    for row in rows:
        found = "[guess answers] That is the number." in row["completion"]
        assert row["rewards"]["environment"] == (1.0 if found else 0.0)
    first = learned(folder)[0]
    assert (first["tools/call_frequency"], first["tools/failure_frequency"]) == (0.75, 0.0)


def test_a_stage_with_an_environment_resumes_bit_identically_in_the_middle_of_a_round(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = planned(whole, "grpo").folder
    monkeypatch.setattr(training.grpo, "generate", scripted)
    arguments = ("--run-dir", str(tmp_path), "--set", "runtime.checkpoint_every=1")
    dies_at_step(2, whole, "grpo", *arguments)
    folder = next(tmp_path.glob("*grpo*"))
    assert [path.name for path in (folder / "checkpoints").glob("checkpoint-*")] == ["checkpoint-1"]
    assert run_stage(whole, "grpo", *arguments) == 0
    assert (expected / "samples.jsonl").exists()
    assert_learned_the_same(folder, expected)


ON_RANK_0 = """
import os

if os.environ.get("RANK") == "0":
    import training.grpo
    from tests import test_environments

    training.grpo.generate = test_environments.scripted

from training.number_guessing import NumberGuessing


def world() -> NumberGuessing:
    return NumberGuessing()
"""


@pytest.mark.slow
def test_one_of_two_ranks_may_act_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The completions of rank 0 guess and have a second turn; those of rank 1 are the random model's."""
    (tmp_path / "rank_worlds.py").write_text(ON_RANK_0)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = pipeline(tmp_path, environment={"callable": "rank_worlds:world", "version": 1})
    run_dir = tmp_path / "two"
    assert run_stage(config, "base", "--run-dir", str(run_dir)) == 0
    assert start_ourselves(config, "grpo", run_dir, two_ranks()) == 0
    folder = folder_of(config, run_dir, "grpo")
    assert_two_ranks_did_it(folder, 0)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 32
    assert sum("[guess answers] " in row["completion"] for row in rows) == 12
    for row in rows:
        found = "[guess answers] That is the number." in row["completion"]
        assert row["rewards"]["environment"] == (1.0 if found else 0.0)
