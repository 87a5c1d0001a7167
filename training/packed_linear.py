"""Linear layers whose weights are laid out anew while completions are drawn: fewer cache misses a token.

A decoding step multiplies a few rows by every weight of the model, and most of its time goes into reading weights in
an order that suits larger products. Another order, for our own kernel (`few_rows`) or for oneDNN, costs one more copy
of the weights, which lives as long as the rollout. Both also give each row the same bits however many rows share the
step (oneDNN from 2 on), which MKL does not below 5 rows.

This knows linear layers only: no model, no cache, no trainer but what `why_not_packed` asks of one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from training.few_rows import FewRows, why_not_few_rows

Product = Callable[[torch.Tensor], torch.Tensor]
LAID_OUT_FOR = 16
"""Rows that oneDNN is told to expect. From 4 on the order, and so every bit, is the same (measured to 256)."""
PAYS_FROM = 16
"""Tokens of a completion below which laying out the weights (0.4 s for 135M) costs more than it saves."""


def why_not_packed(trainer: Any) -> str | None:
    """What keeps a GRPO trainer's rollouts from packed weights, in words; None where nothing does."""
    if trainer.by_vllm:
        return "vLLM draws"
    if trainer.accelerator.device.type != "cpu":
        return "on a GPU"
    if trainer.args.bf16 or trainer.args.fp16:
        return "in float32 only"
    if trainer.args.max_completion_length < PAYS_FROM:
        return f"it pays from completions of {PAYS_FROM} tokens on"
    return why_model_not_packed(trainer.model)


def why_model_not_packed(model: nn.Module) -> str | None:
    """What keeps a model from drawing with packed weights, in words; None where nothing does."""
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return "in float32 on a CPU only"
    if hasattr(weight, "ds_id") or hasattr(model, "get_base_model"):
        return "adapters and ZeRO-3 are there to save memory, this costs a copy of the weights"
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return "this processor, or this build of torch, has no oneDNN with AVX2"
    return None if any(_packable(module) for module in model.modules()) else "no plain linear layers"


used: set[str] = set()
"""The kernels that this process packed weights for: they decide the last bits of what it drew, so a record has them."""


def kernel_in_words() -> str:
    """Which kernel weights are packed for, after "weights packed"; nothing for our own."""
    reason = why_not_few_rows()
    return f" for oneDNN (not for our kernel: {reason})" if reason else ""


class PackedLinears:
    """Packed copies of the weights of every plain float32 linear layer of a model on the CPU, as they are now.

    They have no backward pass. Other layers, such as quantised ones, stay as they are.
    """

    def __init__(self, model: nn.Module) -> None:
        kernel, product = ("oneDNN", _onednn_product) if why_not_few_rows() else ("few_rows", _few_rows_product)
        used.add(kernel)
        self._forwards = [(module, _forward(product(module))) for module in model.modules() if _packable(module)]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, the layers compute from the copies."""
        try:
            for module, forward in self._forwards:
                module.forward = forward
            yield
        finally:
            for module, _ in self._forwards:
                module.__dict__.pop("forward", None)


@contextmanager
def packed_linears(model: nn.Module) -> Iterator[None]:
    """Inside, `model` computes from packed copies of its weights at entry."""
    with PackedLinears(model).in_use():
        yield


def _packable(module: nn.Module) -> bool:
    """A linear layer that is nothing else: no subclass, no hook, no forward or kind of tensor that someone put in."""
    if type(module) is not nn.Linear or "forward" in module.__dict__:
        return False
    if module._forward_hooks or module._forward_pre_hooks or type(module.weight) is not nn.Parameter:
        return False
    return all(each.dtype == torch.float32 and each.device.type == "cpu" for each in module.parameters())


def _forward(product: Product) -> Product:
    """The product as a layer's forward: it refuses to be trained."""

    def forward(input: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled(), "packed weights have no backward pass"
        return product(input)

    return forward


def _few_rows_product(module: nn.Linear) -> Product:
    return FewRows(module.weight, module.bias)


def _onednn_product(module: nn.Linear) -> Product:
    """As torch._inductor packs a frozen linear layer (torch 2.13, fx_passes/mkldnn_fusion.py)."""
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), LAID_OUT_FOR)
    bias = None if module.bias is None else module.bias.detach()
    return lambda input: torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
