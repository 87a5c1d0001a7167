"""The parity proof: the sampler's log-probabilities of the tokens it drew against the trainer's of the same tokens.

The sampler decodes token by token through a cache, the trainer scores whole rows; a wrong position, mask, temperature
or weight in either makes the policy gradient another policy's, and nothing else would show it. Made before the first
step and every `parity.every` steps; above the limits the run stops with exit 4 and leaves PARITY_ROWS.

Legend: R rows, T tokens, K completion tokens, V vocabulary.
"""

import math
from typing import Any

import torch
from trl.trainer.utils import pad

from training.context import StageContext
from training.json_lines import write_lines
from training.rounds import steps_per_round
from training.stopped import Stopped
from training.world import gather

PARITY_ROWS = "parity.jsonl"
"""The prompts and completions, with both log-probabilities of every token, of a proof that failed."""


class Observer:
    """Notes the sampler's log-probabilities of the first `rows` completions of a round while they are drawn."""

    def __init__(self, rows: int, temperature: float):
        self.rows, self.temperature = rows, temperature
        self.logps: dict[int, list[float]] = {}

    def __call__(self, rows: list[int], logits_RV: torch.Tensor, tokens_R: torch.Tensor) -> None:
        """Hear one decoding step: the numbers of the rows, their logits, and the tokens drawn from them."""
        places = [place for place, row in enumerate(rows) if row < self.rows]
        if not places:
            return
        logps_RV = torch.log_softmax(logits_RV[places].float() / self.temperature, dim=-1)
        drawn_R = logps_RV.gather(-1, tokens_R[places, None])[:, 0].tolist()
        for place, logp in zip(places, drawn_R, strict=True):
            self.logps.setdefault(rows[place], []).append(logp)


class ParityProof:
    """Decides when a proof is due, compares, logs `parity/*` and stops the run."""

    def __init__(self, context: StageContext):
        self.context, self.limits = context, context.stage.parity

    def observer(self, trainer: Any) -> Observer | None:
        """An observer for the round about to be drawn, or None when no proof is due.

        Due are the first round and each one whose first step has passed a multiple of `every` since the round before.
        """
        every = self.limits.every
        step = trainer.state.global_step
        steps = steps_per_round(trainer)
        if every is None or step // every == (step - steps) // every:
            return None
        return Observer(self.limits.rows, trainer.temperature)

    def heard(self, trainer: Any, logps: list[list[float]]) -> Observer | None:
        """An observer of a sampler that gives every log-probability by itself: due in each round, None if never."""
        if self.limits.every is None:
            return None
        observer = Observer(self.limits.rows, trainer.temperature)
        observer.logps = dict(enumerate(logps[: observer.rows]))
        return observer

    def check(
        self, trainer: Any, observer: Observer, prompt_ids: list[list[int]], completion_ids: list[list[int]]
    ) -> None:
        """Compare on all ranks; raises Stopped on all of them above a limit."""
        rows = range(min(observer.rows, len(completion_ids)))
        with self.context.ledger.timing("old_logprobs"):
            scored = trainer_logps(trainer, prompt_ids[: len(rows)], completion_ids[: len(rows)])
        pairs = [
            (sampler, trained)
            for row in rows
            for sampler, trained in zip(observer.logps[row], scored[row], strict=True)
            if sampler is not None  # TRL's word for what vLLM could not score
        ]
        kl, worst = compare([pair for rank in gather(self.context.world, pairs) for pair in rank])
        trainer._metrics["train"]["parity/mean_kl"].append(kl)
        trainer._metrics["train"]["parity/max_abs_logp_diff"].append(worst)
        limit = self.limits.max_abs_logp_diff
        if kl <= self.limits.max_mean_kl and (limit is None or worst <= limit):
            return
        self._leave(trainer, [self._row(trainer, observer, scored, prompt_ids, completion_ids, row) for row in rows])
        raise Stopped(
            f"parity at step {trainer.state.global_step + 1}: sampler and trainer differ by a mean KL of {kl:.3g} nats "
            f"a token (parity.max_mean_kl is {self.limits.max_mean_kl:g}), {worst:.3g} on the worst token; see "
            f"{PARITY_ROWS}"
        )

    def _leave(self, trainer: Any, rows: list[dict[str, Any]]) -> None:
        everyone = [row for rank in gather(self.context.world, rows) for row in rank]
        if self.context.world.is_main:
            write_lines(self.context.folder / PARITY_ROWS, everyone)

    def _row(
        self,
        trainer: Any,
        observer: Observer,
        scored: list[list[float]],
        prompt_ids: list[list[int]],
        completion_ids: list[list[int]],
        row: int,
    ) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        return {
            "step": trainer.state.global_step + 1,
            "prompt": tokenizer.decode(prompt_ids[row]),
            "completion": tokenizer.decode(completion_ids[row]),
            "tokens": tokenizer.convert_ids_to_tokens(completion_ids[row]),
            "sampler_logps": observer.logps[row],
            "trainer_logps": scored[row],
        }


def compare(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """(mean KL, greatest difference) of pairs (sampler's log-probability, trainer's) of tokens the sampler drew.

    KL(sampler || trainer) by the estimator exp(d) - 1 - d with d = trainer - sampler, unbiased and never negative
    (Schulman 2020, "Approximating KL divergence", k3).
    """
    if not pairs:  # a sampler without a single number is as far as can be
        return math.inf, math.inf
    differences = [trainer - sampler for sampler, trainer in pairs]
    kl = math.fsum(math.expm1(min(d, 700.0)) - d for d in differences) / len(differences)
    return kl, max(abs(d) for d in differences)


def trainer_logps(trainer: Any, prompt_ids: list[list[int]], completion_ids: list[list[int]]) -> list[list[float]]:
    """The trainer's log-probability of every completion token, by the path its loss takes, dropout switched off."""
    padding = trainer.processing_class.pad_token_id
    device = trainer.accelerator.device
    prompts_RT = pad([torch.tensor(ids) for ids in prompt_ids], padding_value=padding, padding_side="left")
    drawn_RK = pad([torch.tensor(ids) for ids in completion_ids], padding_value=padding, padding_side="right")
    masks = [
        pad([torch.ones(len(ids), dtype=torch.long) for ids in lists], padding_value=0, padding_side=side)
        for lists, side in ((prompt_ids, "left"), (completion_ids, "right"))
    ]
    ids_RT = torch.cat([prompts_RT, drawn_RK], dim=1).to(device)
    mask_RT = torch.cat(masks, dim=1).to(device)
    was_training = trainer.model.training
    trainer.model.eval()
    try:
        with torch.no_grad():
            logps_RK, _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids_RT, mask_RT, drawn_RK.size(1), batch_size=trainer.args.per_device_train_batch_size
            )
    finally:
        trainer.model.train(was_training)
    return [logps[: len(ids)].tolist() for logps, ids in zip(logps_RK.float(), completion_ids, strict=True)]
