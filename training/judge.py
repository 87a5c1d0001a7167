"""A judge: a function of the user that scores all draws of a prompt at once, an LLM behind an API for example.

It runs in the rank's own process, without the time limit of a reward: waiting for a service is its business, and so is
asking again. What it raises makes the draws of that prompt unscorable; too many of them stop the stage (exit code 4).
"""

from itertools import groupby
from typing import Any

from data.own_functions import load_function
from training.config.sample_checks import JUDGE_KEY
from training.reward_functions import prompt_text
from training.rewards.call import finite, seen
from training.rewards.scoring import check_error_rate


class JudgeCalls:
    """Calls the judge of a stage and counts what it could not score."""

    def __init__(self, block: Any, max_error_rate: float) -> None:
        """`block` has callable and arguments (the config's Judge); raises UserError if the function is not found."""
        self._function = load_function(block.callable, JUDGE_KEY)
        self._arguments = block.arguments
        self.weight: float = block.weight
        self._max_error_rate = max_error_rate
        self.num_completions = 0
        self.num_errors = 0

    def score(
        self, completions: list[str], prompts: list[str], columns: dict[str, list[Any]]
    ) -> tuple[list[float | None], str | None]:
        """Return one finite number or None a completion, and what the judge raised, if it did (all are None then).

        Raises RewardErrors once more than `max_error_rate` of all completions so far (at least 20) have no score.
        """
        error = None
        values: list[float | None] = [None] * len(completions)
        try:
            given = list(self._function(completions, prompts, **{**columns, **self._arguments}))
            if len(given) != len(completions):
                raise ValueError(f"returned {len(given)} values for {len(completions)} completions")
            values = [finite(value) for value in given]
        except Exception as raised:  # A judge may raise anything: it is counted and told.
            error = f"judge: {type(raised).__name__}: {raised}"
        self._count(len(completions), error)
        return values, error

    def score_all(
        self, completions: list[str], prompts: list[Any], columns: dict[str, list[Any]]
    ) -> tuple[list[float | None], list[str | None]]:
        """Return one score and one error a completion, copies of a prompt (messages) that stand together judged
        together; columns get `conversation`, the prompt's messages.
        """
        values: list[float | None] = []
        errors: list[str | None] = []
        for _, copies in groupby(range(len(completions)), key=lambda place: prompts[place]):
            places = list(copies)
            own = {name: [seen(name, of[place]) for place in places] for name, of in columns.items()}
            own["conversation"] = [prompts[place] for place in places]
            asked = [prompt_text(prompts[place]) for place in places]
            scores, error = self.score([completions[place] for place in places], asked, own)
            values += scores
            errors += [error] * len(places)
        return values, errors

    def _count(self, completions: int, error: str | None) -> None:
        self.num_completions += completions
        self.num_errors += completions if error else 0
        counts = (self.num_errors, self.num_completions)
        check_error_rate(*counts, self._max_error_rate, "judged", error or "at an earlier prompt")
