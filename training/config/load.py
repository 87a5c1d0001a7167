"""Loading: a YAML file and overrides in, an expanded, checked pipeline out; every mistake is told in one ConfigError.

Three passes find mistakes: the YAML itself (yaml_file), the schema with TRL's trainer fields (schema_problems,
trainer_checks), and, once every value has the right form, the rules that span fields (RULES).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from training.config import (
    batch_checks,
    benchmark_checks,
    cross_checks,
    deepspeed_file,
    family_checks,
    generalisation_checks,
    lora_checks,
    loss_checks,
    name_checks,
    off_policy_checks,
    packing_checks,
    probe_checks,
    profile_checks,
    sample_checks,
    slurm_checks,
    source_checks,
    surgery_checks,
    tool_checks,
    vllm_checks,
)
from training.config.errors import ConfigError
from training.config.expand import expand
from training.config.overrides import apply_overrides
from training.config.pipeline import Pipeline
from training.config.schema_problems import schema_problems
from training.config.trainer_checks import trainer_problems
from training.config.unknown_keys import filled_in_keys
from training.config.yaml_file import read_yaml

RULES = (
    *cross_checks.RULES,
    batch_checks.ranks_divide_over_the_nodes,
    batch_checks.micro_batches_divide_the_batch,
    batch_checks.completions_have_a_length,
    batch_checks.groups_divide_the_batch_and_the_round,
    source_checks.data_stages_are_earlier_samples_of_the_right_kind,
    source_checks.generators_make_what_the_stage_trains_on,
    source_checks.text_has_no_prompts,
    source_checks.suites_have_items_of_their_own,
    source_checks.contamination_is_of_something,
    source_checks.files_exist,
    source_checks.callables_are_found,
    source_checks.formats_serve_the_stage,
    source_checks.hub_names_have_a_revision,
    *off_policy_checks.RULES,
    *packing_checks.RULES,
    *sample_checks.RULES,
    *surgery_checks.RULES,
    lora_checks.adapters_have_no_higher_rank_than_the_matrices,
    loss_checks.losses_are_trl_s,
    *vllm_checks.RULES,
    probe_checks.probes_name_suites,
    profile_checks.some_stage_has_the_profiled_steps,
    name_checks.rewards_exist_and_take_their_parameters,
    name_checks.bundled_models_are_shipped,
    family_checks.families_exist_and_take_their_parameters,
    *generalisation_checks.RULES,
    *benchmark_checks.RULES,
    *tool_checks.RULES,
    slurm_checks.ranks_have_slots,
    deepspeed_file.deepspeed_file_agrees,
)


def load_pipeline(path: Path | str, overrides: Sequence[str] = ()) -> Pipeline:
    """Return the pipeline of a YAML file with `evaluate:` expanded and parents, seeds and system filled in.

    `overrides` are `key.path=value`. Paths in the file are relative to the working directory. Raises ConfigError.
    """
    document = read_yaml(Path(path))
    if not isinstance(document.tree, dict):
        raise ConfigError([document.problem((), "must be a mapping with name, model and stages")])
    if "stages" not in document.tree and document.tree.keys() & {"grid", "points"}:
        raise ConfigError([document.problem((), f"is a sweep, no pipeline; `posttrain sweep {path}` runs it")])
    problems = apply_overrides(document, overrides)
    problems += [document.problem(at, text) for at, text in filled_in_keys(document)]
    problems += trainer_problems(document)
    pipeline = None
    try:
        pipeline = Pipeline.model_validate(document.tree, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += schema_problems(document, error)
    if pipeline is not None:
        problems += [document.problem(at, text) for rule in RULES for at, text in rule(pipeline)]
    if problems or pipeline is None:
        raise ConfigError(problems)
    return expand(pipeline)
