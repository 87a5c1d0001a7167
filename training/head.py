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
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    log_normaliser_N = logits_NV.logsumexp(-1)
    label_logit_N = logits_NV.gather(-1, labels_N[:, None])[:, 0]
    fields = {"log_probs": label_logit_N - log_normaliser_N}
    with torch.no_grad():
        if "entropy" in outputs or "log_sum_sq_probs" in outputs:
            probabilities_NV = (logits_NV - log_normaliser_N[:, None]).exp_()
            fields["entropy"] = log_normaliser_N - (probabilities_NV * logits_NV).sum(-1)
            fields["log_sum_sq_probs"] = probabilities_NV.square_().sum(-1).log_()
        if "mean_logits" in outputs:
            fields["mean_logits"] = logits_NV.mean(-1)
        if "is_top1" in outputs:
            fields["is_top1"] = logits_NV.argmax(-1) == labels_N
    return {name: fields[name] for name in outputs}
