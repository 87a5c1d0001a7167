"""How far a trained model has gone from the one it started from: the KL a token on held-out rows, KL(start || trained).

Before the first step the start model draws DRAWS tokens at some positions of some held-out rows, and these with their
log-probabilities are kept; each later measurement scores the same tokens. Drawn from the start model, they give an
estimate that is unbiased and never negative (`training.parity.compare`), for a forward over SEQUENCES rows and less
than a megabyte: no second model is held, and nothing as wide as the vocabulary (ADR 031 has what else could be done).

Every rank scores its share, all of them equally often (ZeRO-3 gathers parameters in every forward).

Legend: N positions of a sequence, S draws of a position, V vocabulary, T tokens.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from training.context import StageContext
from training.identity import derived_seed
from training.json_lines import whole_lines, write_lines
from training.parity import compare
from training.world import gather

METRIC = "kl_from_start"
"""TRL logs it as `eval_kl_from_start`, beside the held-out loss."""
SEQUENCES, POSITIONS, DRAWS = 64, 16, 8
START_TOKENS = "start_tokens.jsonl"
"""Beside the checkpoints, which it is resumed with."""
NOT_INPUTS = ("labels", "completion_mask", "ref_chosen_logps", "ref_rejected_logps")


class Sequence(NamedTuple):
    """One held-out sequence: a row of the batch that the collator makes of one held-out row (DPO's has two)."""

    row: int
    place: int


class Drawn(NamedTuple):
    """What the start model drew in a sequence: positions [N], tokens [N, S] and their log-probabilities [N, S]."""

    row: int
    place: int
    positions: list[int]
    tokens: list[list[int]]
    logps: list[list[float]]


class HeldOutKl:
    """The tokens of the start model, and the measurement against them."""

    def __init__(self, context: StageContext):
        self.context = context
        self.path = context.folder / "checkpoints" / START_TOKENS
        self.drawn: list[Drawn] = []

    def begin(self, trainer: Any, step: int) -> None:
        """Draw with the start model, or take up what it drew; a collective.

        A stage whose checkpoints are older than this measurement goes on without it: the start model is gone.
        """
        world = self.context.world
        if step > 0:
            found = [Drawn(**line) for line in whole_lines(self.path)] if world.is_main else []
            self.drawn = gather(world, found)[0]
            if not self.drawn:
                self.context.say(f"the KL from the start model is not measured: {START_TOKENS} is not there")
            return
        mine = list(self._each(trainer, self._sequences(trainer), self._draw))
        self.drawn = [Drawn(*drawn) for rank in gather(world, mine) for drawn in rank]
        if world.is_main:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_lines(self.path, (drawn._asdict() for drawn in self.drawn))

    def measure(self, trainer: Any) -> float | None:
        """The mean KL in nats a token over all ranks; None where nothing was drawn."""
        if not self.drawn:
            return None
        mine = [pair for pairs in self._each(trainer, self.drawn, self._pairs) for pair in pairs]
        return compare([pair for rank in gather(self.context.world, mine) for pair in rank])[0]

    def _sequences(self, trainer: Any) -> list[Sequence]:
        """The sequences that are looked at, chosen by the stage's seed alone."""
        rows = len(trainer.eval_dataset)
        generator = torch.Generator().manual_seed(derived_seed(self.context.seed, "held_out_kl"))
        places = len(one_row(trainer, 0)[1])
        order = torch.randperm(rows, generator=generator)[: SEQUENCES // places].tolist()
        return [Sequence(row, place) for row in order for place in range(places)]

    def _each(self, trainer: Any, items: list[Any], look: Callable[[Any, Any], Any]) -> Iterator[Any]:
        """`look(trainer, item)` for this rank's items; ranks with fewer look once more, at nothing that counts."""
        world = self.context.world
        was_training = trainer.model.training
        trainer.model.eval()
        try:
            for start in range(0, len(items), world.size):
                place = start + world.rank
                with torch.no_grad():
                    found = look(trainer, items[min(place, len(items) - 1)])
                if place < len(items):
                    yield found
        finally:
            trainer.model.train(was_training)

    def _draw(self, trainer: Any, sequence: Sequence) -> Drawn:
        inputs, trained = one_row(trainer, sequence.row)
        seed = derived_seed(self.context.seed, f"held_out_kl:{sequence.row}:{sequence.place}")
        generator = torch.Generator().manual_seed(seed)
        before_N = trained[sequence.place, 1:].nonzero()[:, 0]  # a position predicts the token after it
        chosen_N = torch.randperm(len(before_N), generator=generator)[:POSITIONS].sort().values
        positions_N = before_N[chosen_N]
        if not len(positions_N):
            positions_N = torch.zeros(1, dtype=torch.long)
        logps_NV = position_logps(trainer, inputs, sequence.place, positions_N)
        tokens_NS = torch.multinomial(logps_NV.exp(), DRAWS, replacement=True, generator=generator)
        logps_NS = logps_NV.gather(-1, tokens_NS)
        return Drawn(*sequence, positions_N.tolist(), tokens_NS.tolist(), logps_NS.tolist())

    def _pairs(self, trainer: Any, drawn: Drawn) -> list[tuple[float, float]]:
        """(log-probability under the start model, under the present one) of each token drawn."""
        inputs, _ = one_row(trainer, drawn.row)
        logps_NV = position_logps(trainer, inputs, drawn.place, torch.tensor(drawn.positions))
        now = logps_NV.gather(-1, torch.tensor(drawn.tokens)).flatten().tolist()
        return list(zip((logp for row in drawn.logps for logp in row), now, strict=True))


def one_row(trainer: Any, row: int) -> tuple[dict[str, Any], torch.Tensor]:
    """A held-out row as the trainer's collator makes it: the model's inputs, and which tokens [sequences, T] count."""
    batch = trainer.data_collator([trainer.eval_dataset[row]])
    trained = batch["labels"] != -100 if "labels" in batch else batch["completion_mask"].bool()
    return {name: value for name, value in batch.items() if name not in NOT_INPUTS}, trained


def position_logps(trainer: Any, inputs: dict[str, Any], place: int, positions_N: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [N, V] of the next token at positions of one sequence of `inputs`, float32 on the CPU."""
    device = trainer.accelerator.device
    own = {name: one_sequence(value, place, device) for name, value in inputs.items()}
    logits_NV = trainer.model(**own, logits_to_keep=positions_N.to(device), use_cache=False).logits[0]
    return torch.log_softmax(logits_NV.float(), dim=-1).cpu()


def one_sequence(value: Any, place: int, device: torch.device) -> Any:
    """A model's input cut to one sequence; what packing adds holds for the whole batch, which is one sequence then."""
    if not isinstance(value, torch.Tensor):
        return value
    return (value[place : place + 1] if value.ndim > 1 else value).to(device)
