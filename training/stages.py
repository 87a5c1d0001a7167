"""The kinds of stages and what runs them; each `run(context)` returns what the record needs."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.home import from_home
from training.context import StageContext, StageResult

STAGES = {
    "sft": "training.train",
    "dpo": "training.train",
    "grpo": "training.train",
    "reward_model": "training.train",
    "pretrain": "training.train",
    "upscale": "training.surgery.upscale",
    "upcycle": "training.surgery.upcycle",
    "merge": "training.surgery.merge",
    "sample": "training.sample",
    "evaluate": "training.evaluate",
    "export": "training.export.stage",
}


def stage_runner(kind: str) -> Callable[[StageContext], StageResult]:
    """The `run` of a kind, imported late: an evaluation needs no trl."""
    return importlib.import_module(STAGES[kind]).run


def check_all(pipeline: Any) -> None:
    """Build the real config objects and reward functions of every stage and read every data file, so that nothing is
    refused hours later."""
    from tempfile import TemporaryDirectory

    from data.generators import check_families
    from training.adapters import require_quantizer
    from training.config import TRAINING_KINDS
    from training.tracker import require_tracker
    from training.trainer_args import build_arguments
    from training.vllm_environment import require_vllm

    require_tracker(pipeline.runtime, pipeline.offline)
    require_vllm(pipeline)
    single = pipeline.runtime.model_copy(update={"zero_stage": 0})
    with TemporaryDirectory() as scratch:
        for stage in pipeline.stages:
            if getattr(stage, "rewards", None):
                check_rewards(stage)
            check_tools(stage)
            if stage.kind in ("sample", "grpo"):
                check_scorers(stage)
            if stage.kind == "evaluate" and stage.generalisation is not None:
                check_families({**stage.generalisation.harder, **(stage.generalisation.unseen or {})})
            if stage.kind == "merge":
                from training.surgery.merge import require_mergekit

                require_mergekit(stage.name)
            if stage.kind == "export" and stage.gguf:
                check_gguf_parent(pipeline, stage)
            if stage.kind in TRAINING_KINDS:
                require_quantizer(stage)
                build_arguments(stage, single, pipeline.seed, Path(scratch))
    check_benchmarks(pipeline)
    check_data_files(pipeline)


def check_without(stage: Any, names: set[str]) -> None:
    """Refuse a reward model that leaves rows to the rules by a column that no row has: it would score them all."""
    block = getattr(stage, "reward_model", None)
    if block is not None and block.without is not None and block.without not in names:
        have = ", ".join(sorted(names))
        raise UserError(
            f"stages.{stage.name}.reward_model.without: no row has a column {block.without!r}; the rows have {have}"
        )


def check_benchmarks(pipeline: Any) -> None:
    """Refuse benchmarks whose packages, sandbox or rows are not there; one that many evaluations name is read once."""
    evaluations = [stage for stage in pipeline.stages if stage.kind == "evaluate"]
    names = dict.fromkeys(name for stage in evaluations for name in stage.benchmarks)
    if not names:
        return
    from training.benchmarks.run import check_benchmark

    for name in names:
        check_benchmark(name, pipeline.benchmarks[name])


def check_gguf_parent(pipeline: Any, stage: Any) -> None:
    """Refuse GGUF for an architecture that it cannot hold, where the config of the model to export can be told from a
    base whose config is on this machine."""
    from training.config.expand import with_parents
    from training.export.gguf_tensors import require_architecture
    from training.surgery.lineage import configs_of

    try:
        configs = configs_of(pipeline)
    except UserError:
        return  # a base of the hub that comes later: the stage itself looks again
    parents = {each.name: parent for each, parent in with_parents(pipeline.stages)}
    config = configs[parents[stage.name]]
    if not isinstance(config, str):
        require_architecture(config, stage.name)


def check_tools(stage: Any) -> None:
    """Import the tools of a stage and its probe and its environment; refuse what a model cannot be told how to call."""
    from training.environments import load_environment
    from training.tools import load_tools

    specs = getattr(stage, "tools", [])
    tools = [] if specs == "rows" else load_tools(specs, stage.name)
    probe = getattr(stage, "probe", None)
    if probe is not None:
        load_tools(probe.tools, f"{stage.name}.probe")
    if getattr(stage, "environment", None) is not None:
        load_environment(stage.environment, stage.name, [tool.__name__ for tool in tools])


def check_rewards(stage: Any) -> None:
    """Build a stage's rewards, which say what they need of this machine; a worker imports functions of the user."""
    from training.rewards.resolve import reward_of
    from training.rewards.scoring import Scorer

    scorer = Scorer(stage.rewards, stage.max_error_rate)
    for spec in stage.rewards:
        reward = reward_of(spec)
        reward.require(reward.parameters)
    if any(spec.callable is not None for spec in stage.rewards):
        scorer.start().wait_until_ready()
        scorer.close()


def check_scorers(stage: Any) -> None:
    """Import a stage's judge, if it has one, and look at the reward model where it lies in a folder already."""
    from training.judge import JudgeCalls
    from training.reward_scores import check_reward_model

    if getattr(stage, "judge", None) is not None:
        JudgeCalls(stage.judge, stage.max_error_rate)
    if stage.reward_model is not None and from_home(stage.reward_model.model).is_dir():
        check_reward_model(from_home(stage.reward_model.model), stage.reward_model.model)


def check_data_files(pipeline: Any) -> None:
    """Read the local files of stages and suites: rows without the columns that their use needs are a UserError."""
    from data.suites import suite_items
    from training.environments import environment_columns
    from training.plan import data_seed
    from training.rewards.scoring import Scorer
    from training.rows import source_rows

    for stage in pipeline.stages:
        if getattr(stage, "data", None) and all(part.path is not None for part in stage.data.sources):
            rows = source_rows(stage, data_seed(pipeline, stage.name), system=None).rows
            if getattr(stage, "rewards", None):
                names = {name for row in rows for name in row} | environment_columns(stage)
                Scorer(stage.rewards, stage.max_error_rate).check_columns(names)
                check_without(stage, names)
    for name, suite in pipeline.suites.items():
        if suite.data.path is not None:
            suite_items(name, suite, data_seed(pipeline, name), set())
