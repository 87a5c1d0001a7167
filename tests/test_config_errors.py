"""Every kind of mistake in a pipeline file gives its line, its key and what to write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from tests.config_files import PIPELINE, changed, write
from training.config import ConfigError, load_pipeline
from training.config.yaml_file import read_value

DPO_STAGE = "  - name: dpo\n    kind: dpo\n    batch_size: 8\n    data: stage:pairs\n    gate: {suite: easy}\n"
GENERATOR = "generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 64, completions: worked}"


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(path, list(overrides))
    return str(caught.value)


# (what stands in the file, what is written in its place, the line named, parts of the one message)
MISTAKES = {
    # unknown keys
    "top level slip": ("name: demo", "name: demo\nseeed: 3", 2, ["seeed: unknown key (did you mean seed?)", "runtime"]),
    "stage slip": ("    gate:", "    gatte:", 24, ["stages.dpo.gatte: unknown key (did you mean gate?)", "save_dtype"]),
    "runtime slip": (
        "  processes: 2",
        "  proceses: 2",
        33,
        ["runtime.proceses: unknown key (did you mean processes?)"],
    ),
    "nothing near": ("name: demo", "name: demo\nzzz: 3", 2, ["zzz: unknown key; accepted here: name, seed, model"]),
    "trainer field in the stage": (
        "    batch_size: 8",
        "    batch_size: 8\n    beta: 0.1",
        23,
        ["stages.dpo.beta: is not a key here; it belongs in the stage's trainer"],
    ),
    "runtime key in the stage": (
        "    batch_size: 8",
        "    batch_size: 8\n    zero_stage: 2",
        23,
        ["stages.dpo.zero_stage: is not a key here; it belongs in runtime"],
    ),
    "data key in the stage": (
        "    batch_size: 8",
        "    batch_size: 8\n    limit: 2",
        23,
        ["belongs in the stage's data"],
    ),
    "stage key at the top": ("name: demo", "name: demo\nprocesses: 2", 2, ["processes", "it belongs in runtime"]),
    "former top-level name": (
        "name: demo",
        "name: demo\nbase_model: x",
        2,
        ["base_model: is not a key here; write model"],
    ),
    "former stage name": ("    gate:", "    peft: {}\n    gate:", 24, ["stages.dpo.peft", "write lora"]),
    "former runtime name": ("  processes: 2", "  num_processes: 2", 33, ["runtime.num_processes", "write processes"]),
    "former data name": (
        "      generator: {",
        "      file: x\n      generator: {",
        13,
        ["stages.sft.data.file", "write path"],
    ),
    "parent is filled in": (
        "    gate:",
        "    parent: base\n    gate:",
        24,
        ['stages.dpo.parent = "base"', "write from"],
    ),
    "python spelling of from": (
        "    gate:",
        "    from_: base\n    gate:",
        24,
        ["stages.dpo.from_", "did you mean from?"],
    ),
    # values
    "text for a number": (
        "  processes: 2",
        '  processes: "2"',
        33,
        ['runtime.processes = "2": must be a whole number >= 1'],
    ),
    "true for a number": ("  processes: 2", "  processes: true", 33, ["= true: must be a whole number >= 1"]),
    "fraction for a count": ("  processes: 2", "  processes: 2.5", 33, ["= 2.5: must be a whole number >= 1"]),
    "below the bound": ("  processes: 2", "  processes: 0", 33, ["= 0: must be a whole number >= 1"]),
    "both bounds": ("  processes: 2", "  processes: 2\n  zero_stage: 4", 34, ["must be a whole number >= 0 and <= 3"]),
    "number for text": ("name: demo", "name: 2026", 1, ["name = 2026: must be lower-case letters"]),
    "number for plain text": ("name: demo", "name: demo\nsystem: 3", 2, ["must be text or null; write it in quotes"]),
    "upper case name": (
        "name: sft",
        "name: SFT",
        9,
        ['stages.SFT.name = "SFT": must be lower-case letters, digits, _ and -'],
    ),
    "enumeration": (
        "  processes: 2",
        "  processes: 2\n  tracker: wandbb",
        34,
        ["must be wandb or none (did you mean wandb?)"],
    ),
    "union": (
        "    gate:",
        "    lora: {target_modules: 3}\n    gate:",
        24,
        ["= 3: must be all-linear or a list of text"],
    ),
    "list for a mapping": (
        "    gate: {suite: easy}",
        "    gate: [easy]",
        24,
        ["stages.dpo.gate: must be a mapping or null"],
    ),
    "text for a list": ("  suites: [easy]", "  suites: easy", 7, ['evaluate.suites = "easy": must be a list of text']),
    "null for a block": ("  processes: 2\n  micro_batch_size: 4\n", "", 32, ["runtime = null: must be a mapping"]),
    "empty list": ("    rewards: [answer]", "    rewards: []", 19, ["stages.pairs.rewards: must not be empty"]),
    "item of a list": ("    rewards: [answer]", "    rewards: [3]", 19, ["stages.pairs.rewards[0] = 3: must be"]),
    "suite name": ("  easy:", "  Easy:", 4, ["suites.Easy: the name must be lower-case letters, digits, _ and -"]),
    "column of ours": (
        GENERATOR,
        "path: pyproject.toml\n      columns: {promt: q}",
        14,
        ["columns.promt: the name must be messages or", "or prompt or"],
    ),
    "infinite number": ("    gate: {suite: easy}", "    gate: {suite: easy, min_gain: .inf}", 24, ["min_gain"]),
    # missing
    "missing name": ("name: demo\n", "", 1, ["name: is missing; it is name of the pipeline"]),
    "missing batch size": ("    batch_size: 8\n", "", 20, ["stages.dpo.batch_size: is missing", "a whole number >= 1"]),
    "missing inside a block": ("{suite: easy}", "{metric: accuracy}", 24, ["stages.dpo.gate.suite: is missing"]),
    "missing kind": (
        "    kind: sft\n",
        "",
        9,
        ["stages.sft.kind: is missing; it is one of sft, dpo, grpo, sample, evaluate"],
    ),
    "type for kind": ("    kind: sft\n", "    type: sft\n", 9, ["kind: is missing", "write kind in place of type"]),
    "unknown kind": (
        "    kind: sample",
        "    kind: samples",
        17,
        ['"samples": must be one of', "did you mean sample?"],
    ),
    "stage is text": (
        "  - name: pairs",
        "  - stage\n  - name: pairs",
        16,
        ["stages[1]", "must be a mapping with name and kind"],
    ),
    # names between stages
    "duplicate stage": (
        "  - name: dpo",
        "  - name: sft",
        20,
        ['stages.sft.name = "sft": is the name of an earlier stage'],
    ),
    "base is taken": ("  - name: dpo", "  - name: base", 20, ["is the name of the base model; choose another"]),
    "evaluate's name": ("  - name: pairs", "  - name: evaluate-dpo", 16, ["a stage that the evaluate block makes"]),
    "unknown parent": (
        "    gate:",
        "    from: sfft\n    gate:",
        24,
        ['stages.dpo.from = "sfft": no stage has this name (did you mean sft?)', "base, sft"],
    ),
    "later parent": ("    gate:", "    from: grpo\n    gate:", 24, ["that stage stands later"]),
    "parent without model": ("    gate:", "    from: pairs\n    gate:", 24, ["a sample stage leaves no model"]),
    "unknown suite": (
        "  suites: [easy]",
        "  suites: [easy, eazy]",
        7,
        ['evaluate.suites[1] = "eazy": no suite has this name', "did you mean easy?"],
    ),
    "suite twice": ("  suites: [easy]", "  suites: [easy, easy]", 7, ["names easy 2 times"]),
    "gate's suite": ("{suite: easy}", "{suite: eas}", 24, ["does not measure this suite (did you mean easy?)"]),
    "gate without evaluate": ("evaluate:\n  suites: [easy]\n", "", 22, ["a gate needs the top level's evaluate block"]),
    "unknown data stage": ("stage:pairs", "stage:pears", 23, ["the stage pears does not exist (did you mean pairs?)"]),
    "data of a model stage": (
        "stage:pairs",
        "stage:sft",
        23,
        ["sft is a stage of kind sft; rows come from stages of kind sample"],
    ),
    "plain text as data": ("stage:pairs", "pairs", 23, ['a plain string must be "stage:NAME"']),
    "pairs for sft": (GENERATOR, "stage: pairs", 12, ["the stage pairs stands later"]),
    "best for dpo": ("    rewards: [answer]", "    rewards: [answer]\n    keep: best", 24, ["dpo needs keep: pairs"]),
    # sources
    "two sources": (GENERATOR, "path: x\n      hub: a/b@main", 12, ["exactly one source", "found path and hub"]),
    "no source": (
        GENERATOR,
        "limit: 3",
        12,
        ["exactly one source of generator, path, hub, callable, stage, mix; found none"],
    ),
    "missing file": (
        GENERATOR,
        "path: absent.jsonl",
        13,
        ['stages.sft.data.path = "absent.jsonl": there is no such file'],
    ),
    "hub without revision": (GENERATOR, "hub: org/rows", 13, ['must be "org/name@commit-or-branch"']),
    "split of a file": (GENERATOR, "path: x\n      split: test", 12, ["split and subset choose a part of hub data"]),
    "sft without text": (", completions: worked", "", 13, ["completions: is missing", "worked or bare"]),
    "generator without rows": ("rows: 64, ", "", 13, ["generator.rows: is missing"]),
    "generator for dpo": (
        "stage:pairs",
        "{generator: {name: reasoning_gym, families: {gcd: {}}, rows: 8}}",
        23,
        ["makes no pairs"],
    ),
    "rows in a suite": (
        "families: {chain_sum: {}}}}\nevaluate",
        "families: {chain_sum: {}}, rows: 3}}\nevaluate",
        5,
        ["write the suite's items"],
    ),
    "no families": (
        "families: {chain_sum: {}}, rows: 64",
        "families: {}, rows: 64",
        13,
        ["generator.families: must not be empty"],
    ),
    "unknown model": ("bundled:tiny-random", "org/name", 2, ['"org/name@commit-or-branch"']),
    "unknown bundled model": (
        "bundled:tiny-random",
        "bundled:tiny-rndom",
        2,
        ["not shipped", "did you mean tiny-random?"],
    ),
    "chat template": (
        "name: demo",
        "name: demo\nchat_template: absent.jinja",
        2,
        ["neither a file nor a shipped chat template"],
    ),
    "deepspeed file alone": (
        "  processes: 2",
        "  processes: 2\n  deepspeed_config: x.json",
        32,
        ["set zero_stage to 1, 2 or 3"],
    ),
    # task families
    "unknown family": (
        "{chain_sum: {}}, rows: 64",
        "{chain_sums: {}}, rows: 64",
        13,
        ["families.chain_sums: reasoning-gym has no such family (did you mean chain_sum?)"],
    ),
    "refused family": (
        "{chain_sum: {}}, rows: 64",
        "{composite: {}}, rows: 64",
        13,
        ["families.composite: is refused: it mixes other families"],
    ),
    "family parameter": (
        "{chain_sum: {}}, rows: 64",
        "{chain_sum: {terms: 2}}, rows: 64",
        13,
        ["is no parameter of chain_sum", "did you mean min_terms?"],
    ),
    "parameter's value": (
        "{chain_sum: {}}, rows: 64",
        "{chain_sum: {min_terms: two}}, rows: 64",
        13,
        ['min_terms = "two": must be a whole number'],
    ),
    "suite's family": (
        "families: {chain_sum: {}}}}\nevaluate",
        "families: {chain: {}}}}\nevaluate",
        5,
        ["suites.easy.data.generator.families.chain"],
    ),
    # rewards and decoding
    "signal": (
        "    rewards: [answer, format]",
        "    rewards: [answer, format]\n    signal: [anser]",
        30,
        ["is not among the rewards answer, format (did you mean answer?)"],
    ),
    "reward twice": ("[answer, format]", "[answer, answer]", 29, ["rewards[1]", "the reward answer stands twice"]),
    "unknown reward": ("[answer, format]", "[answer, fromat]", 29, ["rewards[1]", "did you mean format?"]),
    "reward parameter": (
        "[answer, format]",
        "[answer, {name: format, tag: x}]",
        29,
        ["rewards[1].tag", "did you mean tags?"],
    ),
    "reward's value": ("[answer, format]", "[answer, {name: format, tags: 3}]", 29, ["rewards[1]", "tags"]),
    "k above draws": (
        "  suites: [easy]",
        "  suites: [easy]\n  draws: 2\n  k: [4]",
        9,
        ["evaluate.k[0] = 4: needs at least 4 draws; draws is 2"],
    ),
    "temperature of greedy": (
        "  suites: [easy]",
        "  suites: [easy]\n  temperature: 0.7",
        8,
        ["does nothing with draws: 0"],
    ),
    "one draw for a pair": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    draws: 1",
        20,
        ["a pair needs at least 2 draws"],
    ),
    "margin of the best": (
        "    rewards: [answer]\n" + DPO_STAGE,
        "    rewards: [answer]\n    keep: best\n    min_margin: 0.1\n",
        21,
        ["does nothing with keep: best"],
    ),
    # batch sizes
    "over ranks": (
        "    batch_size: 8",
        "    batch_size: 9",
        22,
        ["= 9: does not divide over 2 ranks; use 8 or 16 pairs"],
    ),
    "over micro-batches": (
        "    batch_size: 8",
        "    batch_size: 12",
        22,
        ["2 ranks x runtime.micro_batch_size 4; use batch_size 8 or 16, or micro_batch_size 1, 2, 3 or 6"],
    ),
    "group": (
        "num_generations: 8",
        "num_generations: 6",
        31,
        ["stages.grpo.trainer.num_generations = 6: does not divide batch_size 16; use 2, 4, 8 or 16"],
    ),
    "completions without end": (
        "num_generations: 8",
        "max_completion_length: null",
        31,
        ["= null: must be a whole number >= 1"],
    ),
    "group of one": ("num_generations: 8", "num_generations: 1", 31, ["at least 2 completions"]),
    "round": (
        "num_generations: 8",
        "num_generations: 8\n      generation_batch_size: 24",
        32,
        ["is not a multiple of batch_size 16; use 16, 32 or 64"],
    ),
    # trainer fields
    "unknown field": (
        "learning_rate: 1e-4",
        "learning_rte: 1e-4",
        15,
        ["is not a field of SFTConfig (did you mean learning_rate?)"],
    ),
    "former field": ("learning_rate: 1e-4", "lr: 1e-4", 15, ["stages.sft.trainer.lr", "write learning_rate"]),
    "warmup ratio": (
        "learning_rate: 1e-4",
        "warmup_ratio: 0.1",
        15,
        ["write warmup_steps; a value below 1 is a share"],
    ),
    "another kind's field": (
        "learning_rate: 1e-4",
        "num_generations: 4",
        15,
        ["is a field of kind grpo, not of sft (SFTConfig); remove it"],
    ),
    "stage key in trainer": ("learning_rate: 1e-4", "batch_size: 4", 15, ["write it beside trainer in stages.sft"]),
    "text for a float": ("learning_rate: 1e-4", "learning_rate: fast", 15, ['= "fast": must be a number']),
    "fraction for an int": ("learning_rate: 1e-4", "max_steps: 2.5", 15, ["= 2.5: must be a whole number"]),
    "number for a bool": ("learning_rate: 1e-4", "packing: 1", 15, ["= 1: must be true or false"]),
    "null where there is none": ("learning_rate: 1e-4", "max_steps: null", 15, ["= null: must be a whole number"]),
    "nan": ("learning_rate: 1e-4", "learning_rate: .nan", 15, ["must be a finite number"]),
    "refused field": ("learning_rate: 1e-4", "output_dir: x", 15, ["is not set here", "runtime.runs_dir"]),
    "refused template": ("learning_rate: 1e-4", "chat_template_path: x", 15, ["write the stage's chat_template"]),
    "both batch fields": (
        "learning_rate: 1e-4",
        "gradient_accumulation_steps: 3\n      per_device_train_batch_size: 5",
        16,
        ["write batch_size: 30 on the stage and runtime.micro_batch_size: 5 (5 rows x 3 accumulation steps x 2 ranks)"],
    ),
    "accumulation alone": (
        "learning_rate: 1e-4",
        "gradient_accumulation_steps: 3",
        15,
        ["write batch_size: 24 on the stage (4 rows x 3"],
    ),
    "batch field in the stage": (
        "    batch_size: 8",
        "    batch_size: 8\n    per_device_train_batch_size: 2",
        23,
        ["write batch_size: 4 on the stage and runtime.micro_batch_size: 2 (2 pairs x 1"],
    ),
    # YAML
    "duplicate key": ("name: demo", "name: demo\nname: demi", 2, ["name: this key already stands on line 1"]),
    "duplicate nested key": (
        "  processes: 2",
        "  processes: 2\n  processes: 3",
        34,
        ["runtime.processes: this key already stands on line 33"],
    ),
    "syntax": ("  suites: [easy]", "  suites: [easy", 8, ["not valid YAML"]),
    "tab": ("    kind: sft", "\tkind: sft", 10, ["not valid YAML"]),
    "tag": ("name: demo", "name: !!python/name:os.system x", 1, ["the tag", "is not accepted"]),
    "number as key": ("    gate:", "    7: x\n    gate:", 24, ["a key must be text"]),
    "undefined alias": ("name: demo", "name: *gone", 1, ["not valid YAML", "gone"]),
    "self-reference": ("name: demo", "name: demo\nsuites: &loop {easy: *loop}", 2, ["an anchor contains itself"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_with_its_line_key_and_fix(tmp_path: Path, mistake: str) -> None:
    old, new, line, parts = MISTAKES[mistake]
    text = message(write(tmp_path, changed(old, new)))
    place = f"{tmp_path / 'demo.yaml'}:{line}: "
    told = [each for each in text.splitlines() if each.startswith(place) and all(part in each for part in parts)]
    assert told, f"expected {place} with {parts} in:\n{text}"


# Mistakes whose message must come alone: anything more would send the reader to a place that is right.
ALONE = sorted(
    set(MISTAKES)
    - {"stage slip", "missing batch size", "stage is text", "duplicate stage", "upper case name", "self-reference"}
    - {"type for kind", "evaluate's name", "deepspeed file alone", "text for a list", "suite name", "runtime slip"}
)


@pytest.mark.parametrize("mistake", ALONE)
def test_one_mistake_gives_one_problem(tmp_path: Path, mistake: str) -> None:
    old, new, _, _ = MISTAKES[mistake]
    text = message(write(tmp_path, changed(old, new)))
    assert len(text.splitlines()) == 1, text


def test_the_message_of_the_example_in_the_style_guide_is_exact(tmp_path: Path) -> None:
    path = write(tmp_path, changed("num_generations: 8", "num_generations: 6"))
    expected = f"{path}:31: stages.grpo.trainer.num_generations = 6: does not divide batch_size 16; use 2, 4, 8 or 16"
    assert message(path) == expected


def test_trl_s_default_group_is_checked_where_none_is_written(tmp_path: Path) -> None:
    text = changed("    trainer:\n      num_generations: 8\n", "").replace(
        "batch_size: 16\n    data: {gen", "batch_size: 4\n    data: {gen"
    )
    told = message(write(tmp_path, text.replace("processes: 2", "processes: 1")))
    assert "8 (TRL's default) does not divide batch_size 4; use 2 or 4" in told


def test_all_problems_are_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = (
        changed("name: demo", "name: Demo")
        .replace("learning_rate: 1e-4", "lr: 1e-4")
        .replace("processes: 2", "processes: 0")
    )
    lines = message(write(tmp_path, text)).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "15", "33"]


def test_cross_field_rules_report_several_stages_at_once(tmp_path: Path) -> None:
    text = changed("    batch_size: 8", "    batch_size: 9").replace("num_generations: 8", "num_generations: 6")
    assert len(message(write(tmp_path, text)).splitlines()) == 2


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("seed", ["write key.path=value"]),
        ("=3", ["write key.path=value"]),
        ("stages..seed=3", ["write key.path=value"]),
        ("seed=[1", ["is not a YAML value"]),
        ("seed=three", ['seed = "three": must be a whole number >= 0']),
        ("sead=3", ["sead: unknown key (did you mean seed?)"]),
        ("stages.ppo.seed=3", ["stages has no ppo (did you mean dpo?)", "sft, pairs, dpo, grpo"]),
        ("stages.9.seed=3", ["stages has no 9"]),
        ("stages.evaluate-sft.draws=3", ["is made by the evaluate block; override evaluate.KEY"]),
        ("stages.dpo.data.limit=3", ["stages.dpo.data is not a mapping, so it has no limit"]),
        ("stages.dpo.bach_size=3", ["stages.dpo.bach_size: unknown key (did you mean batch_size?)"]),
        ("stages.dpo.trainer.lr=3", ["stages.dpo.trainer.lr = 3", "write learning_rate"]),
        ("stages.grpo.trainer.num_generations=6", ["does not divide batch_size 16; use 2, 4, 8 or 16"]),
        ("nothing.at.all=3", ["nothing: unknown key"]),
    ],
)
def test_an_override_that_is_wrong_is_named_itself(tmp_path: Path, override: str, parts: list[str]) -> None:
    text = message(write(tmp_path), override)
    assert len(text.splitlines()) == 1
    assert text.startswith(f'override "{override}": ')
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "must be a mapping with name, model and stages"),
        (b"# only a comment\n", "must be a mapping"),
        (b"- a\n- b\n", "must be a mapping"),
        (b"just text\n", "must be a mapping"),
        (b"name: a\n---\nname: b\n", "not valid YAML"),
        (b"name: \xff\n", "is not UTF-8 text"),
        (b"name: \x00\n", "is not YAML text"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(content)
    text = message(path)
    assert part in text
    assert text.startswith(str(path))


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    for key, child in children:
        yield from places(child, (*at, key))


@pytest.mark.parametrize("odd", [None, -1, "x", [], {"a": None}, [[1]]], ids=str)
def test_an_odd_value_anywhere_gives_a_config_error_or_a_pipeline(tmp_path: Path, odd: Any) -> None:
    """No value in any place may end in another exception, which the user would see as a traceback."""
    told = []
    for at in places(read_value(PIPELINE)):
        holder = {"": read_value(PIPELINE)}
        node: Any = holder
        for key, step in zip(("", *at), at, strict=False):
            node, last = node[key], step
        if at:
            node[last] = odd
        else:
            holder[""] = odd
        path = write(tmp_path, json.dumps(holder[""]))
        try:
            load_pipeline(path)
        except ConfigError as error:
            told.append(str(error))
    assert told
    assert [each for each in told if not each or "must be anything" in each] == []


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert message(tmp_path / "absent.yaml") == f"{tmp_path / 'absent.yaml'}: there is no such file"
    assert "is a folder" in message(tmp_path)


def test_a_config_error_is_the_users_to_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load_pipeline(write(tmp_path, PIPELINE + "x: 1\n"))
