"""Decoding of many prompts over all ranks, with progress: what `sample` and `evaluate` share."""

import random
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from training.context import StageContext
from training.emulated_bf16 import emulated_words, emulates_bf16
from training.finished_answers import FinishedAnswers, FinishedBatches
from training.identity import derived_seed
from training.models import eos_ids, load_policy, load_tokenizer
from training.packed_linear import PAYS_FROM, PackedLinears, kernel_in_words, why_model_not_packed
from training.progress import Progress
from training.rollout import Sampling, generate
from training.tokens import rendered_prompts
from training.tools import TURNS, load_tools, tokenizer_for_tools

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from training.tool_turns import Exchange


@dataclass
class Decoder:
    """A loaded model with its tokenizer; `draw` decodes message lists into texts, less what an earlier attempt did.

    The model may call `tools` while it answers, at most `most_rounds` times one after the other.
    """

    context: StageContext
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    batch_size: int
    tools: list[Callable[..., Any]] = field(default_factory=list)
    most_rounds: int | None = None
    _progress: Progress = field(init=False)

    def draw(self, prompts: list[list[dict[str, str]]], draws: int, sampling: Sampling, seed: int) -> list["Drawn"]:
        """Return len(prompts) x draws completions, prompt-major, decoded by this rank alone."""
        if not prompts:  # more ranks than prompts
            return []
        if self.tools:
            return self._draw_with_tools(prompts, draws, sampling, seed)
        encoded = rendered_prompts(prompts, self.tokenizer)
        return self._texts(self._kept(encoded, draws, sampling, seed))

    def _kept(self, encoded: list[list[int]], draws: int, sampling: Sampling, seed: int) -> list[list[int]]:
        """Token ids of the draws, those that an earlier attempt decoded read back."""
        self.begin(0, len(encoded) * draws)
        call = {"prompts": encoded, "draws": draws, "sampling": asdict(sampling), "seed": seed}
        with closing(self._finished) as finished:
            return self._ids(encoded, draws, sampling, seed, finished.of(call | {"rows": self.batch_size}))

    def _draw_with_tools(self, prompts: list[Any], draws: int, sampling: Sampling, seed: int) -> list["Drawn"]:
        from training.tool_turns import ToolTurns

        turns = ToolTurns(self.tools, self.tokenizer, self.model, sampling.max_completion_length, self.most_rounds)
        encoded = turns.rendered(prompts)
        first = self._kept(encoded, draws, sampling, seed)

        def draw(before: list[list[int]], turn: int) -> list[list[int]]:
            return self._kept(before, 1, sampling, derived_seed(seed, f"turn{turn}"))

        copies = [(prompt, ids) for prompt, ids in zip(prompts, encoded, strict=True) for _ in range(draws)]
        eos = eos_ids(self.model, self.tokenizer)
        return [
            Drawn(each.text, len(each.drawn), each.ids[-1] not in eos, each)
            for each in turns.complete([one for one, _ in copies], [ids for _, ids in copies], first, draw)
        ]

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
        return self._texts(self._ids(encoded, draws, sampling, seed, finished))

    def _ids(
        self,
        encoded: list[list[int]],
        draws: int,
        sampling: Sampling,
        seed: int | Sequence[int],
        finished: FinishedBatches | None,
    ) -> list[list[int]]:
        world, progress = self.context.world, self._progress

        def on_rows_done(rows: int) -> None:
            progress.advance(rows * world.size)
            done, total = progress.done, progress.total
            self.context.state.update(phase="generate", step=done, max_steps=total, eta_s=progress.eta)

        eos = eos_ids(self.model, self.tokenizer)
        rows = self.batch_size
        with self.context.ledger.timing("generate"):
            packed = self._packed if sampling.max_completion_length >= PAYS_FROM else None
            with nullcontext() if packed is None else packed.in_use():
                return generate(self.model, encoded, draws, sampling, eos, seed, rows, on_rows_done, finished=finished)

    @cached_property
    def _packed(self) -> PackedLinears | None:
        """The weights laid out for drawing: they do not change as long as the stage runs."""
        if not self.context.pipeline.runtime.fast_paths or why_model_not_packed(self.model) is not None:
            return None
        self.context.say(f"weights packed for drawing{kernel_in_words()}")
        return PackedLinears(self.model)

    def _texts(self, ids: list[list[int]]) -> list["Drawn"]:
        eos = eos_ids(self.model, self.tokenizer)
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [Drawn(text, len(tokens), tokens[-1] not in eos) for text, tokens in zip(texts, ids, strict=True)]


@dataclass(frozen=True)
class Drawn:
    """One completion: its text, its length in tokens (the end token included) and whether it hit the limit; with tools,
    the last turn's text, the tokens of all turns, and the exchange.
    """

    text: str
    tokens: int
    truncated: bool
    exchange: "Exchange | None" = None


def open_decoder(context: StageContext, dtype: str, batch_size: int) -> Decoder:
    """Load the parent's model for decoding on this rank's device."""
    import torch

    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    specs = getattr(context.stage, "tools", [])
    if specs:
        tokenizer = tokenizer_for_tools(tokenizer, context.stage.name)
    model = load_policy(context.parent_model, dtype).eval()
    if torch.cuda.is_available():
        model = model.to(f"cuda:{context.world.local_rank}")
    elif dtype == "bfloat16" and emulates_bf16():
        context.say(emulated_words(trains=False))
    context.state.update(force=True, phase="generate")
    tools = load_tools(specs, context.stage.name)
    return Decoder(context, model, tokenizer, batch_size, tools, getattr(context.stage, TURNS, None))


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
