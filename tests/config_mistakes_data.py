"""Mistakes about rows: where they come from, task families, cleaning, mixing and packing."""

from tests.config_files import DPO_STAGE, GENERATOR

DATA_MISTAKES = {
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
    "divisions without an end": (
        "families: {chain_sum: {}}}}\nevaluate",
        "families: {basic_arithmetic: {max_digits: 3}}}}\nevaluate",
        5,
        ["suites.easy.data.generator.families.basic_arithmetic", "max_terms=6 x max_digits=3 is 18", "at 12 or less"],
    ),
    "suite's family": (
        "families: {chain_sum: {}}}}\nevaluate",
        "families: {chain: {}}}}\nevaluate",
        5,
        ["suites.easy.data.generator.families.chain"],
    ),
    # making data
    "best from prompts": (
        "    rewards: [answer]\n" + DPO_STAGE,
        "    rewards: [answer]\n    keep: prompts\n    rows_per_prompt: 2\n",
        21,
        ["rows_per_prompt = 2: does nothing with keep: prompts"],
    ),
    "more pairs than draws": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    draws: 4\n    rows_per_prompt: 3",
        21,
        ["rows_per_prompt = 3: needs 6 draws; draws is 4"],
    ),
    "good and bad at once": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    chosen_at_least: 0.5\n    rejected_at_most: 0.5",
        21,
        ["must be below chosen_at_least 0.5"],
    ),
    "temperature of zero": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    temperature: 0",
        20,
        ["stages.pairs.temperature = 0: must be a number > 0 or a list of a number > 0"],
    ),
    "temperature without a draw": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    draws: 2\n    temperature: [0.5, 1.0, 1.5]",
        21,
        ["lists 3 temperatures for 2 draws; raise draws to 3"],
    ),
    "no scorer": ("    rewards: [answer]\n" + DPO_STAGE, "    keep: best\n", 16, ["neither reward_model nor judge"]),
    "reward model of another kind": (
        "    rewards: [answer]",
        "    reward_model: stage:sft",
        19,
        ["sft is a stage of kind sft; the reward_model stages before it are none"],
    ),
    "reward model nowhere": (
        "    rewards: [answer]",
        "    reward_model: {model: absent/folder}",
        19,
        ["'absent/folder' is no folder"],
    ),
    "judge nowhere": (
        "    rewards: [answer]",
        "    judge: {callable: absent.judges:rate, version: 1}",
        19,
        ["there is no module absent"],
    ),
    "judge without version": (
        "    rewards: [answer]",
        "    judge: {callable: absent.judges:rate}",
        19,
        ["stages.pairs.judge.version: is missing"],
    ),
    "teacher nowhere": ("    rewards: [answer]", "    rewards: [answer]\n    model: absent", 20, ["is no folder"]),
    "teacher not shipped": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    model: bundled:absent",
        20,
        ["is not shipped; shipped: "],
    ),
    "teacher and from": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    from: sft\n    model: stage:sft",
        21,
        ["and so does from: sft; keep one"],
    ),
    "teacher stage": (
        "    rewards: [answer]",
        "    rewards: [answer]\n    model: stage:sftt",
        20,
        ["no model has this name (did you mean sft?)"],
    ),
    "reward model with an adapter": (
        "    kind: dpo\n    batch_size: 8\n    data: stage:pairs\n    gate: {suite: easy}",
        "    kind: reward_model\n    batch_size: 8\n    data: stage:pairs\n    lora: {save: adapter}",
        24,
        ["stages.dpo.lora.save", "use merged"],
    ),
    "gate of a reward model": (
        "    kind: dpo\n",
        "    kind: reward_model\n",
        24,
        ["stages.dpo.gate: unknown key"],
    ),
    # packing
    "wrapped rows": (
        "learning_rate: 1e-4",
        "packing: true\n      packing_strategy: wrapped",
        16,
        ["see their neighbours", "use bfd"],
    ),
    "padding free alone": ("learning_rate: 1e-4", "padding_free: true", 15, ["write packing: true in its place"]),
}
