"""The one GRPOTrainer subclass: five overrides of TRL 1.16, each a few lines around a function elsewhere.

1. `_get_train_sampler`: TRL's order, made resumable in every epoch (`training.resumable`).
2. `_prepare_inputs`: lets `training.dynamic_sampling` choose a round's prompts, hands each finished round to `on_round`
   (samples, group signal), shares its rows among the ranks by their work (`training.balanced_rows`) and puts
   completions of one prompt into the same micro-batches (`training.alike_rows`).
3. `_generate`: gives back what a round's drawing shared (`training.packed_linear`) before TRL scores the round; what
   `training.dynamic_sampling` scores belongs to the drawing.
4. `_generate_single_turn`: TRL calls it for what follows the answers of tools; drawn as first turns are.
5. `_get_per_token_logps_and_entropies`: in the policy's loss, scores rows with signal only (`training.signal_rows`).

Its checkpoints hold the rollout buffer and the micro-step count of each rank (`training.resumable`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from trl import GRPOTrainer

from training.alike_rows import Batch, group_alike, may_reorder
from training.balanced_rows import balance, can_balance
from training.dynamic_sampling import DynamicSampling
from training.packed_linear import PackedLinears
from training.parity import ParityProof
from training.resumable import CommitsCheckpoints, EpochRepeatSampler
from training.rewards.scoring import Scorer
from training.rounds import mid_round, rounds_begun
from training.signal_rows import may_skip_silent_rows, rows_to_score, score_rows

if TYPE_CHECKING:
    from training.one_step_off import OneStepOff


class GrpoTrainer(CommitsCheckpoints, GRPOTrainer):
    """GRPO whose interrupted runs go on as if nothing had happened, also in the middle of a rollout round."""

    on_round: Callable[["GrpoTrainer"], None]
    on_rows_done: Callable[[int], None]
    epoch_sampler: EpochRepeatSampler
    scorer: Scorer
    parity: ParityProof
    draw_turn: Callable[[list[list[int]], "GrpoTrainer"], list[list[int]]]
    turns = 0  # of the present rollout round, after the first
    dynamic: DynamicSampling | None = None
    packed: PackedLinears | None = None  # from a round's first draw to its last: refills and turns share them
    one_step_off: "OneStepOff | None" = None
    by_vllm = False
    """Whether vLLM draws; TRL's `use_vllm` is also true for another sampler that it is to correct for."""
    fast_paths = True
    _buffered_inputs: list[Batch] | None

    def _get_train_sampler(self, dataset: Any = None) -> EpochRepeatSampler:
        plain = super()._get_train_sampler(dataset)
        self.epoch_sampler = EpochRepeatSampler(
            data_source=plain.data_source,
            mini_repeat_count=plain.mini_repeat_count,
            batch_size=plain.batch_size,
            repeat_count=plain.repeat_count,
            shuffle=plain.shuffle,
            seed=plain.seed,
        )
        return self.epoch_sampler

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        if self.dynamic is not None and (before is None or not mid_round(self)):
            generation_batch = self.dynamic.begin(self, generation_batch, rounds_begun(self))
        inputs = super()._prepare_inputs(generation_batch)
        buffer = self._buffered_inputs
        if buffer is not None and buffer is not before:
            if self.one_step_off is not None:
                self.one_step_off.note(buffer)
            self.on_round(self)
            if self.fast_paths and may_reorder(self):
                accumulation = self.args.gradient_accumulation_steps
                if can_balance(buffer, self.accelerator.num_processes):
                    buffer = balance(buffer, accumulation, self.accelerator, may_skip_silent_rows(self))
                self._buffered_inputs = group_alike(buffer, accumulation)
                inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        self.micro_batch = inputs
        return inputs

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        drawn = super()._generate(*args, **kwargs)
        self.packed = None  # a reward model may need the room
        return drawn

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        return self.draw_turn(prompt_ids, self), None

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        score = super()._get_per_token_logps_and_entropies
        plain = not self.fast_paths or any(value is not None for value in only_media(kwargs))
        if plain or not torch.is_grad_enabled():
            return score(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        batch = self.micro_batch
        rows = rows_to_score(batch["advantages"], batch["completion_mask"], may_skip_silent_rows(self))
        old = batch.get("old_per_token_logps")
        fill = torch.zeros_like(batch["completion_mask"], dtype=torch.float32) if old is None else old
        auxiliary = None

        def chosen(ids: torch.Tensor, mask: torch.Tensor, keep: int) -> tuple[torch.Tensor, torch.Tensor | None]:
            nonlocal auxiliary
            logps, entropies, auxiliary = score(model, ids, mask, keep, *args, **kwargs)
            return logps, entropies

        logps, entropies = score_rows(chosen, input_ids, attention_mask, logits_to_keep, rows, fill)
        return logps, entropies, auxiliary

    def save_own_state(self, checkpoint: Path) -> None:
        """Write this rank's rollout buffer and counts."""
        state = rollout_state(self)  # before anything can fail: it may wait for the other ranks
        checkpoint.mkdir(parents=True, exist_ok=True)
        torch.save(state, checkpoint / f"rollout.rank{self.accelerator.process_index}.pt")

    def restore(self, checkpoint: Path) -> None:
        """Put back what `rollout_state` saved; the file's hash was checked against the checkpoint's manifest."""
        ranks, here = len(list(checkpoint.glob("rollout.rank*.pt"))), self.accelerator.num_processes
        needed = [self.accelerator.process_index] if ranks == here else range(ranks)
        states = [torch.load(checkpoint / f"rollout.rank{rank}.pt", weights_only=True) for rank in needed]
        state = states[0]
        if ranks == here:
            self._step, self._buffered_inputs = state["micro_step"], state["buffer"]
            self.scorer.num_completions, self.scorer.num_errors = state["scored"]
        else:  # between two rounds (`changed_world.require_whole_rounds`)
            self._step = self.state.global_step * self.args.gradient_accumulation_steps
            scored = [sum(one["scored"][place] for one in states) // here for place in (0, 1)]
            self.scorer.num_completions, self.scorer.num_errors = scored
        if self.dynamic is not None:
            self.dynamic.statistics.restore(state["prompts"])
        if self.one_step_off is not None:
            self.one_step_off.restore([one["ahead"] for one in states], deal_anew=ranks != here)


def only_media(kwargs: dict[str, Any]) -> list[Any]:
    """The values of image arguments, whose rows cannot be chosen by place."""
    return [value for name, value in kwargs.items() if not name.startswith("compute_") and name != "batch_size"]


def rollout_state(trainer: GrpoTrainer) -> dict[str, Any]:
    """This rank's micro-step count, what it scored, inside a round the completions still to be trained on, and those of
    the round that is drawn ahead.
    """
    return {
        "micro_step": trainer._step,
        "buffer": trainer._buffered_inputs if mid_round(trainer) else None,
        "scored": (trainer.scorer.num_completions, trainer.scorer.num_errors),
        "prompts": {} if trainer.dynamic is None else trainer.dynamic.statistics.state(),
        "ahead": None if trainer.one_step_off is None else trainer.one_step_off.state(),
    }
