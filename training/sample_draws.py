"""The draws of a `sample` stage: the prompts of a rank in fixed groups, each drawn, scored and made to last.

The random numbers of a draw follow from the seed, the prompt's content and the draw's place alone, and a group is
decoded together in every attempt. So an interrupted stage ends with the draws of an uninterrupted one. Prompts with
draws that an earlier attempt could not score keep their draws and are scored again: their judge may be back.
"""

from typing import Any, Protocol

from training.context import StageContext
from training.decode import Decoder, Drawn
from training.finished_prompts import FinishedPrompts
from training.identity import derived_seed
from training.rollout import Sampling
from training.tokens import rendered_prompts

Row = dict[str, Any]
Draw = tuple[float, Drawn]
"""A completion with the temperature it was drawn at."""


class Score(Protocol):
    """What scores draws (`sample_scores.DrawScorer`)."""

    def __call__(self, prompts: list[tuple[Row, list[Draw]]]) -> list[Row]:
        """Make rows with their draws of prompts with theirs."""

    def go_on(self, completions: int) -> None:
        """Count completions that an earlier attempt scored, none of them with an error."""


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
    there = [key for key in keys if key in finished]
    draws = {key: _draws_of(finished.rows[key]) for key in there if not finished.scored(key)}
    if there:
        again = f"; {len(draws)} could not be scored and are scored again" if draws else ""
        context.say(f"{len(there)} of {len(keys)} prompts of this rank are drawn already{again}")
    score.go_on((len(there) - len(draws)) * stage.draws)
    decoder.begin(len(there) * stage.draws, len(keys) * stage.draws)
    encoded = rendered_prompts([row["prompt"] for row in rows], decoder.tokenizer)
    for group in groups(encoded, stage):
        missing = [place for place in group if keys[place] not in finished]
        if missing:
            drawn = _draw(context, decoder, [encoded[place] for place in missing], [keys[place] for place in missing])
            draws |= {keys[place]: found for place, found in zip(missing, drawn, strict=True)}
        waiting = [place for place in group if keys[place] in draws]
        if waiting:
            scored = score([(rows[place], draws.pop(keys[place])) for place in waiting])
            finished.add({keys[place]: row for place, row in zip(waiting, scored, strict=True)})
    finished.close()
    return [finished.rows[key] for key in keys]


def _draws_of(row: Row) -> list[Draw]:
    """The draws of a row that was kept."""
    return [
        (draw["temperature"], Drawn(draw["completion"], draw["tokens"], draw["truncated"])) for draw in row["draws"]
    ]


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
