"""Mistakes about rewards, decoding, health and losses."""

from tests.config_files import DPO_STAGE

ROLLOUTS_MISTAKES = {
    "nothing measured": ("  suites: [easy]", "  suites: []", 6, ["evaluate", "name suites, benchmarks or both"]),
    # rewards and decoding
    "signal": (
        "    rewards: [answer, format]",
        "    rewards: [answer, format]\n    signal: [anser]",
        30,
        ["is not among the rewards answer, format (did you mean answer?)"],
    ),
    "reward model of grpo of another kind": (
        "    rewards: [answer, format]",
        "    rewards: [answer, format]\n    reward_model: {model: 'stage:dpo', without: answer}",
        30,
        ["stages.grpo.reward_model", "dpo is a stage of kind dpo; the reward_model stages before it are none"],
    ),
    "reward with the reward model's name": (
        "    rewards: [answer, format]",
        "    reward_model: a/b@main\n"
        "    rewards: [answer, {name: reward_model, callable: 'tests.own_rewards:picky', version: 1}]",
        30,
        ["stages.grpo.rewards[1]", "the name reward_model is the reward model's"],
    ),
    "signal of a reward model": (
        "    rewards: [answer, format]",
        "    rewards: [answer, format]\n    reward_model: a/b@main\n    signal: [reward_modle]",
        31,
        ["is not among the rewards answer, format, reward_model (did you mean reward_model?)"],
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
    "own reward without a version": (
        "[answer, format]",
        "[answer, {name: mine, callable: 'mine:f'}]",
        29,
        ["rewards[1]", "a callable needs a version: 1"],
    ),
    "version of a shipped reward": (
        "[answer, format]",
        "[answer, {name: format, version: 2}]",
        29,
        ["rewards[1]", "version belongs to a callable"],
    ),
    "own reward under a shipped name": (
        "[answer, format]",
        "[answer, {name: format, callable: 'tests.own_rewards:words', version: 1}]",
        29,
        ["rewards[1]", "the name format is a shipped reward's"],
    ),
    "own reward that is not there": (
        "[answer, format]",
        "[answer, {name: mine, callable: 'no_such_module:f', version: 1}]",
        29,
        ["rewards[1].callable", "there is no module no_such_module"],
    ),
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
    # health, rollouts and losses
    "policy": (
        "    trainer:\n      num_generations: 8",
        "    health: {truncation: stpo}\n    trainer:\n      num_generations: 8",
        30,
        ["stages.grpo.health.truncation", "must be off or warn or stop or rollback, or a mapping with policy"],
    ),
    "policy in the mapping": (
        "    trainer:\n      num_generations: 8",
        "    health: {truncation: {policy: stpo}}\n    trainer:\n      num_generations: 8",
        30,
        ["truncation.policy", "must be off or warn or stop or rollback (did you mean stop?)"],
    ),
    "detector of another kind": (
        "    gate: {suite: easy}",
        "    health: {truncation: stop}",
        24,
        ["stages.dpo.health.truncation: unknown key", "chosen_falling"],
    ),
    "limit of a detector": (
        "    trainer:\n      num_generations: 8",
        "    health: {truncation: {abve: 0.3}}\n    trainer:\n      num_generations: 8",
        30,
        ["truncation.abve: unknown key (did you mean above?)"],
    ),
    "dynamic sampling of nothing": (
        "    trainer:\n      num_generations: 8",
        "    dynamic_sampling: {max_extra: 0}\n    trainer:\n      num_generations: 8",
        30,
        ["does nothing with max_extra: 0 and order: epoch"],
    ),
    "unknown loss": (
        "num_generations: 8",
        "num_generations: 8\n      loss_type: dappo",
        32,
        ['loss_type = "dappo": must be grpo or dr_grpo or dapo', "did you mean dapo?"],
    ),
    "sequence level of a token loss": (
        "num_generations: 8",
        "num_generations: 8\n      importance_sampling_level: sequence",
        32,
        ["weighs a sequence by its length under loss_type dapo; GSPO is loss_type: grpo with it"],
    ),
    "sequence loss at token level": (
        "num_generations: 8",
        "num_generations: 8\n      loss_type: luspo",
        32,
        ["luspo is a loss of whole sequences; write importance_sampling_level: sequence"],
    ),
    "several environments": (
        "    rewards: [answer, format]",
        "    environment: [number_guessing, number_guessing]\n    rewards: [answer, format]",
        29,
        ["stages.grpo.environment", "a stage has one; for several, give a class that chooses"],
    ),
}
