"""A sampler with weights of its own: a copy of the policy in the same process, which moves only when it is told to."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from training.grpo_trainer import GrpoTrainer
from training.one_step_off import Draw
from training.parity import Observer

Decode = Callable[..., list[list[int]]]
"""(model, prompt ids, trainer, name of the random numbers, on_rows_done, observe) -> completion ids."""


class CopiedPolicy:
    """Draws as `training.grpo` does, from a copy; costs the weights' memory a second time on every rank.

    `model` is a copy made before TRL changed the policy's forward. On a GPU it has a stream of its own.
    """

    def __init__(self, model: Any, trainer: GrpoTrainer, decode: Decode):
        self.model, self.trainer, self.decode = model, trainer, decode
        self._draw: Draw | None = None
        for module in model.modules():
            if next(module.children(), None) is not None:  # linear layers stay without hooks, to be packed
                module.register_forward_pre_hook(self._look)
        device = trainer.accelerator.device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def sync_weights(self) -> None:
        """Copy parameters and buffers, in the policy's precision, to where they are."""
        policy = self.trainer.accelerator.unwrap_model(self.trainer.model_wrapped)
        for mine, theirs in zip(tensors(self.model), tensors(policy), strict=True):
            if mine.dtype != theirs.dtype or mine.device != theirs.device:
                mine.data = torch.empty_like(theirs.data)
            mine.data.copy_(theirs.data)

    def prepare(self, prompt_ids: list[list[int]], name: str) -> Callable[[Draw], Any]:
        """As `one_step_off.Sampler` has it."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream())

        def work(draw: Draw) -> tuple[list[list[int]], list[list[float]]]:
            self._draw = draw
            observer = Observer(len(prompt_ids), self.trainer.temperature)
            with nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
                tokens = self.decode(self.model, prompt_ids, self.trainer, name, draw.rows_done, observer)
            return tokens, [observer.logps[row] for row in range(len(prompt_ids))]

        return work

    def _look(self, module: torch.nn.Module, inputs: Any) -> None:
        """Before each block: a prefill of long prompts would keep a rank that has to end."""
        if self._draw is not None:
            self._draw.check()

    def settle(self, result: Callable[[], Any]) -> tuple[list[list[int]], list[list[float]]]:
        """The work's own result: every rank draws for itself."""
        tokens, logps = result()
        return tokens, logps


def tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    """Every parameter and buffer once, in the order of the modules."""
    return [*model.parameters(), *model.buffers()]
