"""Exercises with tests in several languages (after Aider's polyglot benchmark), run in the sandbox: two tries each.

The model is asked in its chat template for whole files; where their tests fail it sees what they printed and may answer
once more. Languages that this machine cannot run are left out, named in the output and in the record.
"""

from collections import Counter, defaultdict
from typing import Any

from data.errors import UserError
from data.home import from_home
from training.benchmarks.exercise_answer import files_written, question, second_question
from training.benchmarks.exercise_files import Exercise, read_exercises
from training.benchmarks.exercise_languages import toolchain, why_left_out
from training.benchmarks.exercise_verdict import place_of, run_tests
from training.config.benchmarks import Exercises
from training.context import StageContext
from training.decode import Decoder, Drawn, interleave, messages, mine
from training.rates import accuracy, lengths
from training.rollout import Sampling
from training.sandbox.levels import require_level
from training.world import gather


def chosen(block: Exercises) -> tuple[list[Exercise], dict[str, int]]:
    """Return (the exercises that are asked, reason -> number left out): of each language the first `limit`."""
    wanted: dict[str, list[Exercise]] = defaultdict(list)
    for each in read_exercises(from_home(block.path), block.languages):
        wanted[each.language].append(each)
    asked, left_out = [], Counter[str]()
    for exercises in wanted.values():
        for each in exercises[: block.limit]:
            reason = why_left_out(each, block.sandbox)
            if reason is None:
                asked.append(each)
            else:
                left_out[reason] += 1
    return sorted(asked, key=lambda each: each.name), dict(sorted(left_out.items()))


def require_exercises(name: str, block: Exercises) -> None:
    """Raise UserError unless this machine has the sandbox and can run at least one of the exercises."""
    require_level(f"benchmarks.{name}.exercises", block.sandbox)
    asked, left_out = chosen(block)
    if not asked:
        why = "; ".join(f"{count} left out ({reason})" for reason, count in left_out.items())
        asked_for = f"there is none in {', '.join(block.languages or [])}"
        raise UserError(f"benchmarks.{name}.exercises: no exercise of {block.path} can be run: {why or asked_for}")


def run_exercises(
    context: StageContext, decoder: Decoder, name: str, block: Exercises
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Return (the benchmark's metrics under its name, rows by exercise)."""
    asked, left_out = chosen(block)
    world = context.world
    own = measured(context, decoder, name, block, mine(asked, world.rank, world.size))
    rows = interleave(gather(world, own))
    found = metrics_of(rows, left_out)
    low, high = found["ci95"]
    context.say(
        f"{name}: passed {found['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}, n={found['n']}), "
        f"at the first try {found['first_try']['accuracy']:.3f}"
    )
    for reason, count in left_out.items():
        context.say(f"{name}: {count} exercises left out: {reason}")
    return {name: found}, rows


def measured(
    context: StageContext, decoder: Decoder, name: str, block: Exercises, asked: list[Exercise]
) -> list[dict[str, Any]]:
    """This rank's exercises, each with its tries; the second one is asked where the first has failed."""
    chats = [messages(question(each), context.system) for each in asked]
    tries: list[list[dict[str, Any]]] = [[] for _ in asked]
    written: list[dict[str, str]] = [{} for _ in asked]
    for _ in range(block.tries):
        open_places = [place for place, done in enumerate(tries) if not done or not done[-1]["correct"]]
        answers = decoder.draw(
            [chats[place] for place in open_places], 1, Sampling(block.max_completion_length, 0.0), seed=0
        )
        for place, answer in zip(open_places, answers, strict=True):
            context.state.update(phase="reward", step=place)
            each = asked[place]
            with context.ledger.timing("reward"):
                written[place] |= files_written(answer.text, each)
                done = tried(each, answer, written[place], block)
            tries[place].append(done)
            reply = {"role": "assistant", "content": answer.text}
            again = {"role": "user", "content": second_question(each, done["output"])}
            chats[place] = [*chats[place], reply, again]
    return [row(name, each, done) for each, done in zip(asked, tries, strict=True)]


def tried(exercise: Exercise, answer: Drawn, written: dict[str, str], block: Exercises) -> dict[str, Any]:
    """One try with its verdict; an answer without any file of the exercise runs no test."""
    passed, output = False, f"No file was found in the answer; write {' '.join(exercise.solution)}."
    if written:
        place = place_of(exercise.language, block.sandbox, block.timeout_s, block.memory_mb)
        passed, output = run_tests(exercise, written, place)
    return {
        "completion": answer.text,
        "correct": int(passed),
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "output": output,
    }


def row(name: str, exercise: Exercise, tries: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of items.jsonl: the last try is the answer, all tries stand in `tries`."""
    last = tries[-1]
    return {
        "suite": name,
        "item": exercise.name,
        "family": exercise.language,
        "prompt": question(exercise),
        "answer": "",
        "completion": last["completion"],
        "correct": last["correct"],
        "format": None,
        "tokens": sum(each["tokens"] for each in tries),
        "truncated": last["truncated"],
        "draws": [],
        "tries": tries,
    }


def metrics_of(rows: list[dict[str, Any]], left_out: dict[str, int]) -> dict[str, Any]:
    """Pass rate after all tries and after the first, each with its Wilson interval; by language with its programs."""
    languages: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in rows:
        languages[each["family"]].append(each)
    return {
        **accuracy(rows),
        **lengths(rows),
        "first_try": accuracy([{"correct": each["tries"][0]["correct"]} for each in rows]),
        "languages": {
            name: accuracy(found) | {"programs": toolchain(name)} for name, found in sorted(languages.items())
        },
        "left_out": left_out,
        "left_out_total": sum(left_out.values()),
    }
