"""The draws of a `sample` stage: the prompts of a rank in fixed groups, each drawn, scored and made to last.

The random numbers of a draw follow from the seed, the prompt's content and the draw's place alone, and a group is
decoded together in every attempt. So an interrupted stage ends with the draws of an uninterrupted one.
"""

from collections.abc import Callable
from typing import Any

from training.context import StageContext
from training.decode import Decoder, Drawn
from training.finished_prompts import FinishedPrompts
from training.identity import derived_seed
from training.rollout import Sampling
from training.tokens import rendered_prompts

Row = dict[str, Any]
Draw = tuple[float, Drawn]
"""A completion with the temperature it was drawn at."""
Score = Callable[[list[tuple[Row, list[Draw]]]], list[Row]]
"""Makes rows with their draws of prompts with theirs."""


def divided(draws: int, temperature: float | list[float]) -> list[tuple[float, int]]:
    """Return (temperature, draws) for each temperature: equal counts, the first ones have one more if need be."""
    temperatures = temperature if isinstance(temperature, list) else [temperature]
    each, more = divmod(draws, len(temperatures))
    return [(value, each + (place < more)) for place, value in enumerate(temperatures)]


def drawn_prompts(context: StageContext, decoder: Decoder, rows: list[Row], keys: list[str], score: Score) -> list[Row]:
    """Return this rank's rows with their draws, in order; what an earlier attempt finished is not drawn again."""
    if not rows:  # more ranks than prompts
        return []
    stage = context.stage
    finished = FinishedPrompts(context.folder, context.world.rank)
    there = sum(key in finished for key in keys)
    if there:
        context.say(f"{there} of {len(keys)} prompts of this rank are drawn already")
    decoder.begin(there * stage.draws, len(keys) * stage.draws)
    encoded = rendered_prompts([row["prompt"] for row in rows], decoder.tokenizer)
    for group in groups(encoded, stage):
        waiting = [place for place in group if keys[place] not in finished]
        if waiting:
            drawn = _draw(context, decoder, [encoded[place] for place in waiting], [keys[place] for place in waiting])
            scored = score([(rows[place], draws) for place, draws in zip(waiting, drawn, strict=True)])
            finished.add({keys[place]: row for place, row in zip(waiting, scored, strict=True)})
    finished.close()
    return [finished.rows[key] for key in keys]


def groups(encoded: list[list[int]], stage: Any) -> list[list[int]]:
    """Return the places of the prompts in groups that are decoded together: neighbours share long prefixes."""
    most = max(count for _, count in divided(stage.draws, stage.temperature))
    size = max(1, stage.batch_size // most)
    alike = sorted(range(len(encoded)), key=lambda place: encoded[place])
    return [alike[start : start + size] for start in range(0, len(alike), size)]


def _draw(context: StageContext, decoder: Decoder, encoded: list[list[int]], keys: list[str]) -> list[list[Draw]]:
    """The draws of each prompt, those of the first temperature first."""
    stage = context.stage
    drawn: list[list[Draw]] = [[] for _ in encoded]
    for turn, (temperature, count) in enumerate(divided(stage.draws, stage.temperature)):
        sampling = Sampling(stage.max_completion_length, temperature, stage.top_p)
        seeds = [derived_seed(context.seed, f"draws/{key}/{turn}") for key in keys]
        made = decoder.decode(encoded, count, sampling, seeds)
        for place, draws in enumerate(drawn):
            draws += [(temperature, one) for one in made[place * count : (place + 1) * count]]
    return drawn
