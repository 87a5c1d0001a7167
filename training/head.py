"""Per-token log-probabilities of the trained positions only, for devices where TRL's fused head scores every position.

Replaces the forward that `trl.trainer.utils.add_fused_lm_head` (TRL 1.16) installs. TRL compacts the batch to its
trained positions on Triton devices alone; on a CPU it projects prompt and padding through the vocabulary as well, which
is half of a step. The interface and the numbers stay TRL's (tests/test_head.py compares them).

Legend: B rows, T tokens, N trained positions, H hidden size, V vocabulary.
"""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

from training.models import without_adapters
from training.shared_context import can_share_contexts, share_contexts, trained_hidden

TILE_POSITIONS = 512  # positions projected at once: 512 x 49,152 float32 logits are 100 MB
ROWS_AT_ONCE = 32  # of a tile, where normaliser and entropy are computed
SCALED_HEADS = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


def can_score_trained_positions(model: PreTrainedModel, device: torch.device) -> bool:
    """Whether this head gives TRL's result: whole weights on a CPU (no ZeRO-3), logits a plain projection."""
    return why_not_trained_positions(model, device) is None


def why_not_trained_positions(model: PreTrainedModel, device: torch.device) -> str | None:
    """What keeps a model from this head, in words; None where nothing does.

    `device` is where it will be trained (`trainer.accelerator.device`): under DeepSpeed the weights come there late.
    """
    config = model.config.get_text_config()
    scaled = [name for name in SCALED_HEADS if getattr(config, name, None) not in (None, 1.0)]
    weight = next(model.parameters())
    if scaled:
        return f"the model scales its logits ({', '.join(scaled)})"
    if device.type != "cpu":
        return "on a GPU TRL's kernel does the same"
    return "ZeRO-3 keeps the weights in parts" if hasattr(weight, "ds_id") else None


HEAD_OUTPUTS = {  # the fields each TRL 1.16 trainer reads from its policy's head
    "pretrain": ("log_probs", "entropy", "is_top1"),
    "sft": ("log_probs", "entropy", "is_top1"),
    "dpo": ("log_probs", "entropy", "mean_logits", "is_top1"),
    "grpo": ("log_probs", "entropy"),
}


NEEDS_TRL_HEAD = {
    "aux_loss_enabled": "an auxiliary loss is on",
    "_entropy_bonus_enabled": "an entropy bonus needs the entropies' gradient",
    "use_adaptive_entropy": "an entropy bonus needs the entropies' gradient",
}


def why_trl_head(trainer: Any) -> str | None:
    """What keeps a trainer with TRL's head, in words; None where nothing but the model may."""
    for name, reason in NEEDS_TRL_HEAD.items():
        if getattr(trainer, name, False):
            return reason
    return "cast_lm_head_to_fp32 is on" if getattr(trainer.args, "cast_lm_head_to_fp32", False) else None


def use_trained_positions_head(trainer: Any, kind: str) -> None:
    """Replace TRL's fused head on models that `training.head` can score alike; entropy bonuses keep TRL's."""
    if why_trl_head(trainer) is not None:
        return
    outputs = HEAD_OUTPUTS[kind]
    if getattr(trainer, "use_weighting", False):
        outputs += ("log_sum_sq_probs",)
    temperature = getattr(trainer, "temperature", 1.0)
    reference: Any = getattr(trainer, "ref_model", None)
    if trainer.args.bf16 or trainer.args.fp16:
        reference = None  # accelerate has wrapped its forward in autocast already
    for model, fields in ((trainer.model, outputs), (reference, ("log_probs",))):
        plain = without_adapters(model)
        if isinstance(plain, PreTrainedModel) and can_score_trained_positions(plain, trainer.accelerator.device):
            score_trained_positions(plain, temperature, fields)


def score_trained_positions(
    model: PreTrainedModel, temperature: float = 1.0, outputs: tuple[str, ...] = ("log_probs",)
) -> None:
    """Patch `model.forward(..., labels=, fused_lm_head=True)` to return a `FusedCausalLMOutput`, as TRL's head does.

    `outputs` names the fields wanted among those of FusedCausalLMOutput, each of shape [B, T-1] and 0 where the label
    is -100. Only log_probs carries a gradient: callers with an entropy bonus must keep TRL's head.
    """
    plain_forward: Callable[..., Any] = type(model).forward

    @functools.wraps(plain_forward)  # `generate` validates its arguments against this signature
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return plain_forward(self, *args, **kwargs)
        labels_BT = kwargs.pop("labels")[:, 1:]
        kwargs.pop("num_items_in_batch", None)
        mask_BT = labels_BT != -100
        head = self.get_output_embeddings()
        fields = _score_tiles(
            _trained_hidden(self, args, kwargs, labels_BT),
            head.weight,
            head.bias,
            labels_BT[mask_BT],
            temperature,
            outputs,
        )
        dense = {
            name: value_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, value_N) for name, value_N in fields.items()
        }
        loss = -dense["log_probs"].sum() / mask_BT.sum().clamp(min=1)
        return FusedCausalLMOutput(loss=loss, label_mask=mask_BT, **dense)

    model.forward = types.MethodType(forward, model)


def _trained_hidden(model: Any, args: Any, kwargs: dict[str, Any], labels_BT: torch.Tensor) -> torch.Tensor:
    """Return the hidden states [N, H] that predict the trained tokens; `labels_BT` [B, T-1] is shifted already."""
    plain = {"input_ids", "attention_mask"} <= set(kwargs) <= {"input_ids", "attention_mask", "use_cache"}
    if not args and plain and can_share_contexts(model):
        ids_BT, mask_BT = kwargs["input_ids"], kwargs["attention_mask"]
        shared = share_contexts(ids_BT, mask_BT, functional.pad(labels_BT, (1, 0), value=-100))
        if shared is not None:
            return trained_hidden(model.base_model, model.config, shared)
    kwargs["use_cache"] = False
    return model.base_model(*args, **kwargs).last_hidden_state[:, :-1][labels_BT != -100]


def _score_tiles(
    hidden_NH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    labels_N: torch.Tensor,
    temperature: float,
    outputs: tuple[str, ...],
) -> dict[str, torch.Tensor]:
    """Score N positions in tiles; with more than one tile the logits are recomputed in the backward pass."""
    tiles = []
    pairs = list(zip(hidden_NH.split(TILE_POSITIONS), labels_N.split(TILE_POSITIONS), strict=True))
    for hidden, labels in pairs:
        arguments = (hidden, weight_VH, bias_V, labels, temperature, outputs)
        if len(pairs) > 1 and torch.is_grad_enabled():
            tiles.append(checkpoint(_score_tile, *arguments, use_reentrant=False))
        else:
            tiles.append(_score_tile(*arguments))
    return {name: torch.cat([tile[name] for tile in tiles]) for name in tiles[0]}


def _score_tile(
    hidden_NH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    labels_N: torch.Tensor,
    temperature: float,
    outputs: tuple[str, ...],
) -> dict[str, torch.Tensor]:
    logits_NV = functional.linear(hidden_NH, weight_VH, bias_V).float()
    log_probs_N, log_normaliser_N = _LabelLogProbs.apply(logits_NV, labels_N, temperature)
    fields = {"log_probs": log_probs_N}
    with torch.no_grad():
        if "entropy" in outputs or "log_sum_sq_probs" in outputs:
            fields["entropy"], fields["log_sum_sq_probs"] = _by_rows(_spread, logits_NV, log_normaliser_N)
        if "mean_logits" in outputs:
            fields["mean_logits"] = logits_NV.mean(-1)
        if "is_top1" in outputs:
            fields["is_top1"] = logits_NV.argmax(-1) == labels_N
    return {name: fields[name] for name in outputs}


class _LabelLogProbs(torch.autograd.Function):
    """(log_softmax(logits / temperature) at the labels, log of the normaliser), both [N], from logits [N, V].

    It takes `logits_NV` over: they are divided by the temperature in place, and the backward pass turns them into their
    own gradient. The graph that PyTorch would build holds four tensors of [N, V] at a time, this one; the numbers are
    the same to the bit, and a second backward pass is refused by autograd's version check.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_NV: torch.Tensor, labels_N: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if temperature != 1.0:
            logits_NV.div_(temperature)
        (log_normaliser_N,) = _by_rows(lambda rows: (rows.logsumexp(-1),), logits_NV)
        log_probs_N = logits_NV.gather(-1, labels_N[:, None])[:, 0] - log_normaliser_N
        ctx.save_for_backward(logits_NV, labels_N, log_normaliser_N)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(log_normaliser_N)
        return log_probs_N, log_normaliser_N

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits_NV, labels_N, log_normaliser_N = ctx.saved_tensors
        gradient_N1 = gradients[0][:, None]
        gradient_NV = logits_NV.sub_(log_normaliser_N[:, None]).exp_().mul_(-gradient_N1)
        gradient_NV.scatter_add_(-1, labels_N[:, None], gradient_N1)
        if ctx.temperature != 1.0:
            gradient_NV.div_(ctx.temperature)
        return gradient_NV, None, None


def _spread(logits_NV: torch.Tensor, log_normaliser_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The entropy and the log of the sum of squared probabilities, both [N]."""
    probabilities_NV = (logits_NV - log_normaliser_N[:, None]).exp_()
    entropy_N = log_normaliser_N - (probabilities_NV * logits_NV).sum(-1)
    return entropy_N, probabilities_NV.square_().sum(-1).log_()


def _by_rows(function: Callable[..., tuple[torch.Tensor, ...]], *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Apply `function` to a few rows at a time: what it makes on the way stays small."""
    parts = [function(*rows) for rows in zip(*(tensor.split(ROWS_AT_ONCE) for tensor in tensors), strict=True)]
    return [torch.cat(column) for column in zip(*parts, strict=True)]
