"""Stage kind `sample`: draw several answers a prompt, score them, keep pairs, the best or the prompts.

Leaves data.jsonl (what a later stage trains on), draws.jsonl (every draw with its rewards) and pass_rates.jsonl (every
prompt with the share of its draws that passed). Prompts whose draws all earn the same have nothing to compare; they are
left out of pairs and counted.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from data.accounting import DROPPED_ROWS
from data.errors import UserError
from data.files import SAMPLE_ROWS
from training.base import link_model, locate_model
from training.context import TEACHER, StageContext, StageResult
from training.data_doctor import FLAGGED_ROWS, examine_stage
from training.decode import interleave, mine, open_decoder
from training.difficulty import PASS_RATES
from training.facts import reward_facts, tokenizer_facts
from training.finished_prompts import prompt_keys
from training.json_lines import write_lines
from training.models import check_unchanged_template
from training.pins import Pins
from training.reward_functions import assistant_text, prompt_text
from training.rows import stage_rows
from training.sample_draws import drawn_prompts
from training.sample_keep import kept_rows, pass_rate, summary
from training.sample_scores import DrawScorer
from training.world import barrier, gather

DRAWS = "draws.jsonl"
SHOWN_COLUMNS = ("prompt", "chosen", "rejected", "chosen_reward", "rejected_reward", "completion", "reward")


def run(context: StageContext) -> StageResult:
    """Draw, score and keep; interrupted, go on behind the prompts that are finished."""
    stage, world = context.stage, context.world
    context.ledger.begin()
    link_teacher(context)
    decoder = open_decoder(context, stage.dtype, stage.batch_size)
    if context.teacher is None:
        check_unchanged_template(context.record_of(context.parent_name), decoder.tokenizer, stage.allow_template_change)
    usable, account = stage_rows(context, decoder.tokenizer)
    account["doctor"] = examine_stage(context, usable, decoder.tokenizer)
    context.say(f"{len(usable.rows)} prompts x {stage.draws} draws, {world.size} rank(s)")
    own = mine(list(zip(usable.rows, prompt_keys(usable.rows), strict=True)), world.rank, world.size)
    rows, keys = [row for row, _ in own], [key for _, key in own]
    with closing(DrawScorer(context)) as scorer:
        prompts = interleave(gather(world, drawn_prompts(context, decoder, rows, keys, scorer)))
        speed = scorer.scored_per_s()
    metrics = keep(context, prompts, speed) if world.is_main else {}
    context.ledger.end_step()
    facts = tokenizer_facts(decoder.tokenizer)
    return StageResult(metrics, account, reward_facts(stage), facts, files_of(context.folder))


def link_teacher(context: StageContext) -> None:
    """Make the teacher's weights, if there is a teacher, part of the stage's folder."""
    if context.teacher is None:
        return
    if context.world.is_main:
        pins = Pins(context.plan.pins, context.pipeline.offline)
        link_model(locate_model(context.teacher, pins), context.folder, TEACHER)
    barrier(context.world)


def keep(context: StageContext, prompts: list[dict[str, Any]], scored_per_s: float | None) -> dict[str, Any]:
    """Write what is kept of the scored prompts and return the counts; UserError where that is nothing."""
    stage, folder = context.stage, context.folder
    kept, duplicates = kept_rows(prompts, stage, context.system)
    metrics = summary(prompts, kept, duplicates, stage)
    if scored_per_s is not None:
        metrics["scored_per_s"] = scored_per_s
    write_lines(folder / DRAWS, prompts)
    write_lines(folder / PASS_RATES, [pass_rate(prompt, stage.pass_at_least) for prompt in prompts])
    write_lines(folder / SAMPLE_ROWS, kept)
    context.say(in_words(metrics))
    tell_tracker(context, kept)
    if not kept:
        raise_nothing_kept(context, metrics)
    return metrics


def tell_tracker(context: StageContext, kept: list[dict[str, Any]]) -> None:
    """Show the first rows kept as a table: pairs with both rewards, or answers with theirs."""
    shown = kept[: context.pipeline.runtime.log_completions]
    if not shown:
        return
    names = [name for name in SHOWN_COLUMNS if name in shown[0]]
    rows = [[_shown(name, row.get(name)) for name in names] for row in shown]
    context.tracker.table("preferences" if "chosen" in names else "rows", names, rows, 0)


def _shown(name: str, value: Any) -> Any:
    """A cell: texts without their messages, rewards as numbers."""
    if name == "prompt":
        return prompt_text(value)
    return value if value is None or isinstance(value, int | float) else assistant_text(value)


def in_words(metrics: dict[str, Any]) -> str:
    """What was kept and what was not, in a sentence."""
    parts = [
        f"kept {metrics['kept']} rows of {metrics['prompts']} prompts",
        f"{metrics['prompts_without_signal']} prompts had draws that all earned the same",
        f"mean reward {metrics['mean_reward']:.3f}",
    ]
    if metrics["mean_pass_rate"] is not None:
        parts.append(f"mean pass rate {metrics['mean_pass_rate']:.1%}")
    counted = {
        "duplicates": "rows dropped that repeat another",
        "empty_completions": "draws without a text, kept in no row",
        "unscored": "draws without a score, kept in no row",
    }
    return "; ".join([*parts, *(f"{metrics[name]} {words}" for name, words in counted.items() if metrics[name])])


def raise_nothing_kept(context: StageContext, metrics: dict[str, Any]) -> None:
    """A stage that leaves no row would fail the next one; say why here."""
    raise UserError(
        f"stages.{context.planned.name} kept no row of {metrics['prompts']} prompts (mean reward "
        f"{metrics['mean_reward']:.3f}); draw more, lower min_margin or chosen_at_least, or give prompts the model "
        "sometimes gets right"
    )


def files_of(folder: Path) -> list[str]:
    """The files of the artifact: the rows, what they were chosen from, and the weights of a teacher."""
    names = (SAMPLE_ROWS, DRAWS, PASS_RATES, FLAGGED_ROWS, DROPPED_ROWS)
    teacher = folder / TEACHER
    weights = sorted(path for path in teacher.rglob("*") if path.is_file()) if teacher.is_dir() else []
    own = [name for name in names if (folder / name).is_file()]
    return [*own, *(str(path.relative_to(folder)) for path in weights)]
