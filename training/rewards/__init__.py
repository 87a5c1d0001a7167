"""The shipped rewards, each pure, versioned and in a file of its own with golden cases beside it.

A reward is `f(completions, prompts, **columns) -> list[float | None]`: the assistant's text and the row's columns,
nothing else, each completion on its own. 0.0 means wrong, None means not applicable. Change what one returns and its
version must rise: versions are part of every fingerprint. `training.rewards.scoring` has them called, in worker
processes; nothing else should, except where one reward is all that is asked.
"""

from training.rewards.answer import answer
from training.rewards.choice import choice
from training.rewards.code_execution import PARAMETERS as CODE
from training.rewards.code_execution import TIME_LIMIT_S as CODE_LIMIT_S
from training.rewards.code_execution import check_code, code, require_code
from training.rewards.cosine_length import check_cosine, cosine_length
from training.rewards.environment import environment
from training.rewards.environment_state import COLUMN as ENVIRONMENTS
from training.rewards.exact import exact
from training.rewards.format import check_tags, format_tags
from training.rewards.instructions import check_score, instructions
from training.rewards.language import check_language, language
from training.rewards.length import check_lengths, soft_overlong
from training.rewards.proof import PARAMETERS as PROOF
from training.rewards.proof import TIME_LIMIT_S as PROOF_LIMIT_S
from training.rewards.proof import check_proof, proof, require_proof
from training.rewards.reasoning_gym import load_families, reasoning_gym
from training.rewards.regex import check_pattern, regex
from training.rewards.repetition import check_repetition, repetition
from training.rewards.reward import Reward

INSTRUCTION_COLUMNS = ("instruction_id_list", "kwargs")
COSINE = {"max_length": None, "right": [2.0, 1.0], "wrong": [-10.0, 0.0], "exceeded": -10.0}
OVERLONG = {"max_length": None, "buffer": None, "unit": "tokens"}
PATTERN = {"pattern": None, "full": False, "ignore_case": False, "thinking": False}

REWARDS: dict[str, Reward] = {
    "answer": Reward("answer", 2, answer, {"strict": False}, ("answer",)),
    "choice": Reward("choice", 1, choice, {"strict": False}, ("answer",)),
    "exact": Reward("exact", 1, exact, {"ignore_case": False, "ignore_punctuation": False}, ("answer",)),
    "regex": Reward("regex", 1, regex, PATTERN, (), check_pattern),
    "reasoning_gym": Reward("reasoning_gym", 1, reasoning_gym, {"strict": False}, ("task",), prepare=load_families),
    "instructions": Reward("instructions", 1, instructions, {"score": "share"}, INSTRUCTION_COLUMNS, check_score),
    "format": Reward("format", 1, format_tags, {"tags": ["answer"]}, (), check_tags),
    "length": Reward("length", 1, soft_overlong, OVERLONG, (), check_lengths),
    "cosine_length": Reward("cosine_length", 1, cosine_length, COSINE, ("answer",), check_cosine),
    "environment": Reward("environment", 1, environment, columns=(ENVIRONMENTS,), probed=False),
    "repetition": Reward("repetition", 1, repetition, {"ngram": 3, "max_penalty": -1.0}, (), check_repetition),
    "language": Reward("language", 1, language, {"language": None, "among": None}, (), check_language),
    "code": Reward(
        "code",
        1,
        code,
        CODE,
        ("tests",),
        check_code,
        time_limit_s=CODE_LIMIT_S,
        probed=False,
        require=require_code,
    ),
    "proof": Reward(
        "proof",
        1,
        proof,
        PROOF,
        ("statement",),
        check_proof,
        time_limit_s=PROOF_LIMIT_S,
        probed=False,
        require=require_proof,
    ),
}
