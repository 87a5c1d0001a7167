"""One step off policy: the completions of the next rollout round are drawn while this round is trained.

At the start of round k the sampler gets the policy's weights and begins to draw round k + 1 with them, on a thread of
this rank; then round k is trained. So every round but the first is trained by the policy one round after the one that
drew it. TRL's importance correction mends that: it weighs each sequence or token of the loss by the policy's
probability at the start of the round over the sampler's (docs/rollout_backends.md says what multiplies what).

A checkpoint waits for the draw and keeps its completions, so a resumed stage goes on to the bit. The thread takes part
in no collective, and whatever ends the stage makes it give up within a layer.
"""

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.context import StageContext
from training.grpo_trainer import GrpoTrainer
from training.rounds import rounds_begun, steps_per_round
from training.tokens import rendered_prompts
from training.world import gather

POLL_S = 0.5
"""How often a rank that waits for its draw looks whether rows are finished."""
GIVE_UP_S = 10.0
"""How long the end of a process waits for a draw that was told to give up: one layer, or what vLLM leaves unheard."""


class GivenUp(Exception):
    """The stage ends: nobody wants what is being drawn."""


class Draw(threading.Thread):
    """Work beside the main thread; `work` gets this object, to count rows and to hear that it is to give up."""

    def __init__(self, work: Callable[["Draw"], Any]):
        super().__init__(daemon=True, name="one-step-off")
        self._work, self._threads = work, torch.get_num_threads()
        self._result: Any = None
        self._error: BaseException | None = None
        self.given_up = threading.Event()
        self.rows = 0
        self.seconds = self.waited_s = 0.0

    def run(self) -> None:
        """The work itself; called on the main thread it is done there."""
        torch.set_num_threads(self._threads)  # a new thread would take what OpenMP was started with
        started = time.perf_counter()
        try:
            self._result = self._work(self)
        except BaseException as error:  # `result` raises it where the main thread hears it
            self._error = error
        self.seconds = time.perf_counter() - started

    def rows_done(self, rows: int) -> None:
        """Count finished completions."""
        self.rows += rows

    def check(self) -> None:
        """Raise GivenUp once nobody wants the result."""
        if self.given_up.is_set():
            raise GivenUp

    def result(self, tell: Callable[[int], None]) -> Any:
        """Wait for what the work returns, or raise what it raised; `tell` hears of rows as they are finished."""
        started, told = time.perf_counter(), 0
        while self.is_alive():
            self.join(POLL_S)
            rows = self.rows
            tell(rows - told)
            told = rows
        self.waited_s += time.perf_counter() - started
        if self._error is not None:
            raise self._error
        return self._result


class Sampler(Protocol):
    """What draws from weights that nothing but `sync_weights` changes. All but the work is for the main thread."""

    def sync_weights(self) -> None:
        """Take over the policy's weights; every rank calls it, never while a draw is under way."""

    def prepare(self, prompt_ids: list[list[int]], name: str) -> Callable[[Draw], Any]:
        """Return the work that draws one completion for each prompt, which may run on another thread; its random
        numbers follow from (seed, `name`) and the rank or the row. Every rank calls it.
        """

    def settle(self, result: Callable[[], Any]) -> tuple[list[list[int]], list[list[float]]]:
        """Return this rank's completions and the log-probabilities of their tokens; `result` waits for the work. Every
        rank calls it.
        """


@dataclass(frozen=True)
class Round:
    """A round that is drawn and not trained yet: this rank's rows, and the sampler's log-probability of each token."""

    number: int
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    logps: list[list[float]]


class OneStepOff(TrainerCallback):
    """Keeps one round ahead. To TRL it is the `vllm_generation` whose weights it syncs before each round."""

    def __init__(self, context: StageContext, trainer: GrpoTrainer, sampler: Sampler):
        self.context, self.trainer, self.sampler = context, trainer, sampler
        self.ahead: Round | None = None
        self._number, self._prompt_ids = -1, list[list[int]]()  # of the draw under way
        self._under_way: list[Draw] = []  # one, or none
        weakref.finalize(self, give_up, self._under_way)

    def sync_weights(self) -> None:
        """Called by TRL at the start of a round: the draw under way is the old weights' and ends first."""
        self.finish()
        self.sampler.sync_weights()

    def rollout(self, prompts: list[Any]) -> dict[str, Any]:
        """Return the round that was drawn ahead and begin the next; the first one is drawn here, on policy."""
        number, prompt_ids = rounds_begun(self.trainer), self._rendered(prompts)
        is_drawn = self.finish()
        if not is_drawn:
            self._begin(number, prompt_ids)
            self.finish()
        drawn, self.ahead = self.ahead, None
        assert drawn is not None
        assert (drawn.number, drawn.prompt_ids) == (number, prompt_ids), "TRL asks for another round's prompts"
        self._prove(drawn, with_these_weights=not is_drawn)
        if (number + 1) * steps_per_round(self.trainer) < self.trainer.state.max_steps:
            self._begin(number + 1, self._prompts_of(number + 1, len(prompts)))
        return {"prompt_ids": drawn.prompt_ids, "completion_ids": drawn.completion_ids, "logprobs": drawn.logps}

    def _prompts_of(self, number: int, count: int) -> list[list[int]]:
        """The prompts of this rank's `count` rows of a round, as the data loader will bring them."""
        first = self.context.world.rank * count
        rows = self.trainer.epoch_sampler.round_rows(number)[first : first + count]
        return self._rendered([self.trainer.train_dataset[row]["prompt"] for row in rows])

    def _rendered(self, prompts: list[Any]) -> list[list[int]]:
        return rendered_prompts(prompts, self.trainer.processing_class)

    def _begin(self, number: int, prompt_ids: list[list[int]]) -> None:
        self._number, self._prompt_ids = number, prompt_ids
        self._under_way.append(Draw(self.sampler.prepare(prompt_ids, str(number))))
        self._under_way[0].start()

    def finish(self) -> bool:
        """Wait for the draw under way, on every rank; tells whether there is a round to train on."""
        if self._under_way:
            draw = self._under_way[0]
            with self.context.ledger.timing("generate"):
                tokens, logps = self.sampler.settle(lambda: draw.result(self.trainer.on_rows_done))
            self._under_way.clear()
            self.context.ledger.beside("generate", max(0.0, draw.seconds - draw.waited_s))
            self.ahead = Round(self._number, self._prompt_ids, tokens, logps)
        return self.ahead is not None

    def _prove(self, drawn: Round, with_these_weights: bool) -> None:
        """The parity proof, where it is due: of completions that the present weights draw."""
        parity = self.trainer.parity
        observer = parity.observer(self.trainer)
        if observer is None:
            return
        prompt_ids, completion_ids, logps = drawn.prompt_ids, drawn.completion_ids, drawn.logps
        if not with_these_weights:
            prompt_ids = prompt_ids[: observer.rows]
            draw = Draw(self.sampler.prepare(prompt_ids, f"parity:{drawn.number}"))
            draw.run()
            completion_ids, logps = self.sampler.settle(lambda: draw.result(self.trainer.on_rows_done))
        observer.logps = dict(enumerate(logps[: observer.rows]))
        parity.check(self.trainer, observer, prompt_ids, completion_ids)

    def note(self, buffer: list[dict[str, Any]]) -> None:
        """Log `sampling/kl` of the round that TRL has just made: how far the policy is from what drew it."""
        summed, tokens = kl_to_policy(buffer)
        ranks = gather(self.context.world, (summed, tokens))
        kl = sum(rank[0] for rank in ranks) / max(sum(rank[1] for rank in ranks), 1)
        self.trainer._metrics["train"]["sampling/kl"].append(kl)

    def state(self) -> dict[str, Any] | None:
        """The round that is drawn and not trained yet, for a checkpoint; waits for it, on every rank."""
        self.finish()
        return None if self.ahead is None else asdict(self.ahead)

    def restore(self, states: list[dict[str, Any] | None], deal_anew: bool) -> None:
        """Put back what `state` gave on this rank, or deal out anew what it gave on all ranks of another world."""
        rounds = [Round(**state) for state in states if state is not None]
        if rounds:
            self.ahead = share_of(rounds, self.context.world.rank, self.context.world.size) if deal_anew else rounds[0]

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Training has ended before its last step: what is drawn for the next one is not wanted."""
        give_up(self._under_way)


def rollout(prompts: list[Any], trainer: GrpoTrainer) -> dict[str, Any]:
    """TRL's `rollout_func` of a stage that is one step off policy."""
    assert trainer.one_step_off is not None
    return trainer.one_step_off.rollout(prompts)


def attach(context: StageContext, trainer: GrpoTrainer, sampler: Sampler) -> None:
    """Have a trainer that was given `rollout` draw one round ahead by `sampler`, with TRL's importance correction."""
    trainer.one_step_off = OneStepOff(context, trainer, sampler)
    trainer.vllm_generation = trainer.one_step_off
    trainer.use_vllm, trainer._last_loaded_step = True, -1  # TRL corrects for, and syncs, what it takes for vLLM
    trainer.add_callback(trainer.one_step_off)
    context.ledger.wrap(trainer, "_generate_and_score_completions", "old_logprobs")  # what no phase inside it claims
    context.say("one step off policy: each round but the first is drawn while the one before it is trained")


def give_up(under_way: list[Draw]) -> None:
    """End the draws under way: torch must not be at work on a thread when the interpreter goes away."""
    for draw in under_way:
        draw.given_up.set()
    for draw in under_way:
        draw.join(GIVE_UP_S)
    under_way[:] = [draw for draw in under_way if draw.is_alive()]  # the process's end waits for it once more


def kl_to_policy(buffer: list[dict[str, Any]]) -> tuple[float, int]:
    """(sum, number of tokens) of the KL of the sampler to the policy, by the estimator of `parity.compare`."""
    summed, tokens = 0.0, 0
    for batch in buffer:
        mask_BK = batch["completion_mask"].bool()
        mask_BK &= batch["sampling_per_token_logps"].isfinite()  # vLLM may give NaN; TRL leaves such tokens out too
        differences = (batch["old_per_token_logps"] - batch["sampling_per_token_logps"])[mask_BK].double()
        summed += float((torch.expm1(differences) - differences).sum())
        tokens += int(mask_BK.sum())
    return summed, tokens


def share_of(rounds: list[Round], rank: int, ranks: int) -> Round:
    """This rank's rows of a round that other ranks drew; theirs, in order, are the rows of the whole round."""
    everyone = [
        (ids, completion, logps)
        for each in rounds
        for ids, completion, logps in zip(each.prompt_ids, each.completion_ids, each.logps, strict=True)
    ]
    count = len(everyone) // ranks
    prompt_ids, completion_ids, logps = zip(*everyone[rank * count : (rank + 1) * count], strict=True)
    return Round(rounds[0].number, list(prompt_ids), list(completion_ids), list(logps))
