"""The mistakes of tests/test_config_errors.py: what stands in the file, what a user might write, what is said then.

Those about keys, values and YAML are here.
"""

from tests.config_files import GENERATOR
from tests.config_mistakes_data import DATA_MISTAKES
from tests.config_mistakes_rollouts import ROLLOUTS_MISTAKES
from tests.config_mistakes_stages import STAGES_MISTAKES

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
        ["must be wandb or tensorboard or trackio or mlflow or none (did you mean wandb?)"],
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
        ["stages.sft.kind: is missing; it is one of pretrain, sft, dpo, grpo,", "sample, evaluate, export"],
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
    # YAML
    "duplicate key": ("name: demo", "name: demo\nname: demi", 2, ["name: this key already stands on line 1"]),
    "duplicate nested key": (
        "  processes: 2",
        "  processes: 2\n  processes: 3",
        34,
        ["runtime.processes: this key already stands on line 33"],
    ),
    "syntax": ("  suites: [easy]", "  suites: [easy", 8, ["not valid YAML"]),
    "tab": ("    kind: sft", "\tkind: sft", 10, ["not valid YAML", "indent with spaces"]),
    "tag": ("name: demo", "name: !!python/name:os.system x", 1, ["the tag", "is not accepted"]),
    "number as key": ("    gate:", "    7: x\n    gate:", 24, ["a key must be text"]),
    "undefined alias": ("name: demo", "name: *gone", 1, ["not valid YAML", "gone"]),
    "self-reference": ("name: demo", "name: demo\nsuites: &loop {easy: *loop}", 2, ["an anchor contains itself"]),
    # the rest by subject
    **DATA_MISTAKES,
    **ROLLOUTS_MISTAKES,
    **STAGES_MISTAKES,
}
