"""Log-probabilities of DPO's reference, computed once for each pair and kept under (weights, template, row).

TRL 1.16 computes those of a whole data set before it keeps any, under one hash: a crash loses them all, another row
means all of them again, and under ZeRO-3 its hash may be that of empty placeholders. Here each pair runs alone, without
padding, so its numbers do not depend on which pairs came before, and is written down at once; the next attempt and the
next run (another beta, another learning rate, more rows) read it. The tokens, truncated as the trainer truncates them,
stand for row and template.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.context import StageContext
from training.identity import canonical_json, sha256_text
from training.progress import Progress, duration
from training.score_cache import ScoreCache, model_files_key
from training.world import gather

if TYPE_CHECKING:
    from datasets import Dataset

NAME = "reference_logps"


@dataclass
class ReferenceLogps:
    """Where a stage's reference log-probabilities come from."""

    context: StageContext
    arguments: Any

    def usable(self) -> bool:
        """Whether a pair's numbers are its own: with ld_alpha TRL weighs them by the other answer's length."""
        return self.arguments.ld_alpha is None

    def add_columns(self, trainer: Any, dataset: "Dataset") -> "Dataset":
        """Return the rows with `ref_chosen_logps` and `ref_rejected_logps` [float32]; every rank calls it."""
        started = time.monotonic()
        world = self.context.world
        cache = ScoreCache(NAME, model_files_key(self.context.training_parent, self._settings()), world.rank)
        mine = dataset.select(range(world.rank, len(dataset), world.size))
        dealt = gather(world, [pair_keys(row, trainer.data_collator) for row in mine])
        keys = [dealt[place % world.size][place // world.size] for place in range(len(dataset))]
        found = {key: cache[key] for pair in keys for key in pair if key in cache} if world.is_main else {}
        known = gather(world, found)[0]  # other hosts may have another cache
        missing = [place for place, pair in enumerate(keys) if not all(key in known for key in pair)]
        known |= self._compute(trainer, dataset, keys, missing, cache)
        if missing:
            took, before = duration(time.monotonic() - started), len(keys) - len(missing)
            self.context.say(f"reference: {len(missing)} pairs scored in {took}, {before} known from the cache")
        else:
            self.context.say(f"reference: all {len(keys)} pairs known from the cache")
        for column, side in (("ref_chosen_logps", 0), ("ref_rejected_logps", 1)):
            dataset = dataset.add_column(column, np.array([known[pair[side]] for pair in keys], dtype=np.float32))
        return dataset

    def _compute(
        self, trainer: Any, dataset: "Dataset", keys: list[tuple[str, str]], missing: list[int], cache: ScoreCache
    ) -> dict[str, float | None]:
        """Score this rank's share of the missing pairs and return what all ranks found, by key."""
        world = self.context.world
        mine = missing[world.rank :: world.size]
        progress = Progress(f"{self.context.planned.name} reference", shown=world.is_main, unit="pairs")
        progress.start(0, len(mine))
        model = reference_model(trainer) if missing else None
        for done, place in enumerate(mine, start=1):
            cache.add(dict(zip(keys[place], score_pair(trainer, model, dataset[place]), strict=True)))
            progress.step(done)
            self.context.state.update(phase="reference", step=done, max_steps=len(mine))
        if len(mine) < -(-len(missing) // world.size) and trainer.is_deepspeed_enabled:
            score_pair(trainer, model, dataset[missing[0]])  # ZeRO-3 gathers weights in every forward, on all ranks
        own = {key: cache[key] for place in mine for key in keys[place]}
        cache.close()
        return {key: value for part in gather(world, own) for key, value in part.items()}

    def _settings(self) -> dict[str, Any]:
        """What decides the numbers beside weights and tokens."""
        stage, arguments = self.context.stage, self.arguments
        return {
            "bf16": arguments.bf16,
            "fp16": arguments.fp16,
            "attention": stage.attention,
            "zero_stage": self.context.pipeline.runtime.zero_stage,
            "quantize": None if stage.lora is None else stage.lora.quantize,
            "collator": [arguments.max_length, arguments.truncation_mode],
        }


def pair_keys(row: dict[str, Any], collator: Any) -> tuple[str, str]:
    """Return what names the chosen and the rejected answer of a row: the tokens that the collator leaves of them."""
    batch = collator([{name: row[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")}])
    masks = batch["attention_mask"].bool()
    rows = zip(batch["input_ids"], batch["completion_mask"], masks, strict=True)
    chosen, rejected = (sha256_text(canonical_json([ids[m].tolist(), done[m].tolist()])) for ids, done, m in rows)
    pair = sha256_text(chosen + rejected)  # the two run in one forward: what stands in it decides the last bits
    return sha256_text(f"{pair} chosen"), sha256_text(f"{pair} rejected")


def reference_model(trainer: Any) -> Any:
    """The model that TRL 1.16 precomputes with: under DeepSpeed in an engine of its own, made once."""
    from trl.models.utils import prepare_deepspeed

    if trainer.ref_model is None and trainer.is_deepspeed_enabled:
        if trainer._precompute_engine is None:
            trainer._precompute_engine = prepare_deepspeed(trainer.model, trainer.accelerator)
        return trainer._precompute_engine
    return trainer.ref_model or trainer.model


def score_pair(trainer: Any, model: Any, row: dict[str, Any]) -> tuple[float, float]:
    """Return the log-probabilities of the chosen and the rejected answer, summed over their tokens."""
    batch = trainer.data_collator([row])
    device = trainer.accelerator.device
    batch = {name: value.to(device) for name, value in batch.items()}
    chosen, rejected = trainer.compute_ref_log_probs(model, batch)
    return float(chosen[0]), float(rejected[0])
