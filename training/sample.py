"""Stage kind `sample`: draw several answers a prompt, score them with the rewards, keep pairs or the best.

Leaves data.jsonl (what a later stage trains on) and draws.jsonl (every draw with its rewards). Prompts whose draws all
earn the same have nothing to compare; they are left out and counted.
"""

import json
from pathlib import Path
from typing import Any

from training.context import StageContext, StageResult
from training.data_doctor import FLAGGED_ROWS, examine_stage
from training.decode import interleave, mine, open_decoder
from training.facts import reward_facts, tokenizer_facts
from training.identity import derived_seed
from training.ledger import Ledger
from training.models import check_unchanged_template
from training.reward_functions import prompt_text
from training.rewards.scoring import Scorer
from training.rollout import Sampling
from training.rows import stage_rows
from training.world import gather


def run(context: StageContext) -> StageResult:
    """Sample, score and keep; the same prompts go to the same rank on every run with as many ranks."""
    stage, world = context.stage, context.world
    context.ledger.begin()
    decoder = open_decoder(context, stage.dtype, stage.batch_size)
    check_unchanged_template(context.record_of(context.parent_name), decoder.tokenizer, stage.allow_template_change)
    usable, account = stage_rows(context, decoder.tokenizer)
    account["doctor"] = examine_stage(context, usable, decoder.tokenizer)
    rows = usable.rows
    context.say(f"{len(rows)} prompts x {stage.draws} draws, {world.size} rank(s)")
    own = mine(rows, world.rank, world.size)
    sampling = Sampling(stage.max_completion_length, stage.temperature, stage.top_p)
    seed = derived_seed(context.seed, f"{context.planned.name}:{world.rank}")
    drawn = decoder.draw([row["prompt"] for row in own], stage.draws, sampling, seed)
    scorer = Scorer(stage.rewards, stage.max_error_rate)
    scored = [
        score_prompt(row, drawn[place * stage.draws : (place + 1) * stage.draws], scorer, context.ledger)
        for place, row in enumerate(own)
    ]
    everything = interleave(gather(world, scored))
    metrics: dict[str, Any] = {}
    if world.is_main:
        kept = [kept_row for prompt in everything if (kept_row := keep(prompt, stage)) is not None]
        metrics = summary(everything, kept)
        write_lines(context.folder / "draws.jsonl", everything)
        write_lines(context.folder / "data.jsonl", kept)
        context.say(
            f"kept {len(kept)} of {len(everything)} prompts; {metrics['prompts_without_signal']} had draws that all "
            f"earned the same; mean reward {metrics['mean_reward']:.3f}{empty_words(metrics['empty_completions'])}"
        )
        if not kept:
            raise_nothing_kept(context, metrics)
    facts = tokenizer_facts(decoder.tokenizer)
    context.ledger.end_step()
    files = [name for name in ("data.jsonl", "draws.jsonl", FLAGGED_ROWS) if (context.folder / name).is_file()]
    return StageResult(metrics, account, reward_facts(stage), facts, files)


def score_prompt(row: dict[str, Any], drawn: list[Any], scorer: Scorer, ledger: Ledger) -> dict[str, Any]:
    """Score one prompt's draws with every reward."""
    columns = {name: [value] * len(drawn) for name, value in row.items() if name != "prompt"}
    columns["completion_tokens"] = [draw.tokens for draw in drawn]
    with ledger.timing("reward"):
        scores = scorer.score([draw.text for draw in drawn], [prompt_text(row["prompt"])] * len(drawn), columns)
    draws = [
        {
            "completion": draw.text,
            "tokens": draw.tokens,
            "truncated": draw.truncated,
            "reward": scores.total[place],
            "rewards": {name: values[place] for name, values in scores.per_reward.items()},
        }
        for place, draw in enumerate(drawn)
    ]
    return {**row, "draws": draws}


def keep(prompt: dict[str, Any], stage: Any) -> dict[str, Any] | None:
    """The row a prompt leaves, or None: best against worst when they differ by `min_margin`, or the best alone.

    A draw without a text, whose model ended its turn at once, is in draws.jsonl and never in a row: no stage takes it.
    """
    drawn = (draw for draw in prompt["draws"] if draw["reward"] is not None and draw["completion"].strip())
    ranked = sorted(drawn, key=lambda draw: -draw["reward"])
    if not ranked:
        return None
    best, worst = ranked[0], ranked[-1]
    row = {name: value for name, value in prompt.items() if name != "draws"}
    if stage.keep == "best":
        return {**row, "completion": _assistant(best), "reward": best["reward"]} if best["reward"] > 0 else None
    if best["reward"] - worst["reward"] < stage.min_margin or best["completion"] == worst["completion"]:
        return None
    return {
        **row,
        "chosen": _assistant(best),
        "rejected": _assistant(worst),
        "chosen_reward": best["reward"],
        "rejected_reward": worst["reward"],
    }


def _assistant(draw: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": draw["completion"]}]


def summary(prompts: list[dict[str, Any]], kept: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts and means over all draws, for the record and the report."""
    draws = [draw for prompt in prompts for draw in prompt["draws"]]
    rewards = [draw["reward"] for draw in draws if draw["reward"] is not None]
    silent = sum(len({draw["reward"] for draw in prompt["draws"]}) == 1 for prompt in prompts)
    return {
        "prompts": len(prompts),
        "draws": len(draws),
        "kept": len(kept),
        "prompts_without_signal": silent,
        "mean_reward": sum(rewards) / len(rewards) if rewards else 0.0,
        "empty_completions": sum(not draw["completion"].strip() for draw in draws),
        "truncated": sum(draw["truncated"] for draw in draws) / len(draws),
        "mean_tokens": sum(draw["tokens"] for draw in draws) / len(draws),
    }


def empty_words(count: int) -> str:
    """What is said of draws without a text, where there are any."""
    return f"; {count} draws without a text, kept in no row" if count else ""


def raise_nothing_kept(context: StageContext, metrics: dict[str, Any]) -> None:
    """A stage that leaves no row would fail the next one; say why here."""
    from data.errors import UserError

    raise UserError(
        f"stages.{context.planned.name} kept no row of {metrics['prompts']} prompts (mean reward "
        f"{metrics['mean_reward']:.3f}); draw more, lower min_margin, or give prompts the model sometimes gets right"
    )


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as sink:
        for row in rows:
            sink.write(json.dumps(row, ensure_ascii=False) + "\n")
    temporary.replace(path)
