"""Decoding of many prompts over all ranks, with progress: what `sample` and `evaluate` share."""

import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from training.context import StageContext
from training.finished_answers import FinishedAnswers, FinishedBatches
from training.models import eos_ids, load_policy, load_tokenizer
from training.progress import Progress
from training.rollout import Sampling, generate
from training.tokens import rendered_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Decoder:
    """A loaded model with its tokenizer; `draw` decodes message lists into texts, less what an earlier attempt did."""

    context: StageContext
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    batch_size: int
    _progress: Progress = field(init=False)

    def draw(self, prompts: list[list[dict[str, str]]], draws: int, sampling: Sampling, seed: int) -> list["Drawn"]:
        """Return len(prompts) x draws completions, prompt-major, decoded by this rank alone."""
        if not prompts:  # more ranks than prompts
            return []
        encoded = rendered_prompts(prompts, self.tokenizer)
        self.begin(0, len(prompts) * draws)
        call = {"prompts": encoded, "draws": draws, "sampling": asdict(sampling), "seed": seed}
        with closing(self._finished) as finished:
            return self.decode(encoded, draws, sampling, seed, finished.of(call | {"rows": self.batch_size}))

    @cached_property
    def _finished(self) -> FinishedAnswers:
        return FinishedAnswers(self.context.folder, self.context.world.rank)

    def begin(self, done: int, total: int) -> None:
        """Start counting completions for the progress, `total` on this rank."""
        world = self.context.world
        self._progress = Progress(self.context.planned.name, shown=world.is_main, unit="completions")
        self._progress.start(done * world.size, total * world.size)

    def decode(
        self,
        encoded: list[list[int]],
        draws: int,
        sampling: Sampling,
        seed: int | Sequence[int],
        finished: FinishedBatches | None = None,
    ) -> list["Drawn"]:
        """Return the draws of rendered prompts, prompt-major, after `begin`; `seed` is as `rollout.generate` has it."""
        world, progress = self.context.world, self._progress

        def on_rows_done(rows: int) -> None:
            progress.advance(rows * world.size)
            done, total = progress.done, progress.total
            self.context.state.update(phase="generate", step=done, max_steps=total, eta_s=progress.eta)

        eos = eos_ids(self.model, self.tokenizer)
        with self.context.ledger.timing("generate"):
            rows = self.batch_size
            ids = generate(self.model, encoded, draws, sampling, eos, seed, rows, on_rows_done, finished=finished)
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [Drawn(text, len(tokens), tokens[-1] not in eos) for text, tokens in zip(texts, ids, strict=True)]


@dataclass(frozen=True)
class Drawn:
    """One completion: its text, its length in tokens (the end token included) and whether it hit the limit."""

    text: str
    tokens: int
    truncated: bool


def open_decoder(context: StageContext, dtype: str, batch_size: int) -> Decoder:
    """Load the parent's model for decoding on this rank's device."""
    import torch

    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    model = load_policy(context.parent_model, dtype).eval()
    if torch.cuda.is_available():
        model = model.to(f"cuda:{context.world.local_rank}")
    context.state.update(force=True, phase="generate")
    return Decoder(context, model, tokenizer, batch_size)


def messages(prompt: str, system: str | None) -> list[dict[str, str]]:
    """A question as a chat, the system message first when there is one."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return [*head, {"role": "user", "content": prompt}]


def mine(items: list[Any], rank: int, size: int) -> list[Any]:
    """The share of this rank: every size-th item of a fixed shuffle, since neighbours alternate between families."""
    return [items[place] for place in _shuffled(len(items))[rank::size]]


def interleave(shares: list[list[Any]]) -> list[Any]:
    """Undo `mine`: the items of all ranks in their first order."""
    merged: list[Any] = [None] * sum(len(share) for share in shares)
    order = _shuffled(len(merged))
    for rank, share in enumerate(shares):
        for place, item in zip(order[rank :: len(shares)], share, strict=True):
            merged[place] = item
    return merged


def _shuffled(count: int) -> list[int]:
    return random.Random(0).sample(range(count), count)
