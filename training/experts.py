"""Experts of a mixture during training: how many tokens each gets, and the selection bias that evens them out.

Loads are counted by hooks on the routers, over all micro-batches of an optimizer step and all ranks. A forward that
runs again inside the backward pass (activation checkpointing) is not counted twice, nor are padding and evaluations.

Auxiliary-loss-free balancing (Wang et al. 2024, arXiv 2408.15664, algorithm 1; DeepSeek-V3, arXiv 2412.19437, section
2.1.2): after each step b_i += u * sign(mean load - load_i). The bias takes part in choosing experts, not in their
weights, so the loss has no other gradient than without it. Every rank computes the same integers, so the same bias.

Legend: E experts, N tokens of a micro-batch, K experts chosen a token.
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.errors import UserError
from training.models import without_adapters
from training.surgery.tensors import WeightReader
from training.world import World, join

BIAS = "e_score_correction_bias"
BIAS_FILE = "expert_bias.safetensors"
"""In a checkpoint: the biases in float32, which an engine in bf16 would keep in bf16."""


class ExpertLoads:
    """Counts the tokens that each expert of each router gets between two calls of `take`."""

    def __init__(self, model: torch.nn.Module):
        """`model` may be wrapped in adapters; `routers` stays empty where it has no experts."""
        self.routers = {layer_name(name): module for name, module in model.named_modules() if is_router(model, module)}
        self._counts: dict[str, torch.Tensor] = {}
        self._mask: torch.Tensor | None = None
        if self.routers:
            backbone = _backbone(model)
            backbone.register_forward_pre_hook(self._note_padding, with_kwargs=True)
        for name, router in self.routers.items():
            router.register_forward_hook(self._counter(name))

    def take(self, world: World) -> dict[str, torch.Tensor]:
        """Return tokens by expert ([E]) of each layer, summed over ranks, and begin anew; a collective."""
        names = list(self.routers)
        counts = [self._counts.pop(name, torch.zeros(_num_experts(self.routers[name]))) for name in names]
        device = next(iter(self.routers.values())).weight.device
        joined = torch.cat([count.to(device, torch.float64) for count in counts])
        if world.size > 1:
            join(world)
            torch.distributed.all_reduce(joined)
        parts = joined.cpu().split([len(count) for count in counts])
        return dict(zip(names, parts, strict=True))

    def _note_padding(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        self._mask = mask.flatten().bool() if isinstance(mask, torch.Tensor) and mask.ndim == 2 else None

    def _counter(self, name: str) -> Any:
        def count(router: torch.nn.Module, args: Any, output: Any) -> None:
            if not router.training or torch._C._current_graph_task_id() != -1:
                return  # an evaluation, or a forward repeated inside the backward pass
            chosen_NK = output[2].detach().reshape(-1, output[2].shape[-1])
            if self._mask is not None and len(self._mask) == len(chosen_NK):
                chosen_NK = chosen_NK[self._mask]
            counts_E = torch.bincount(chosen_NK.flatten(), minlength=_num_experts(router))
            self._counts[name] = self._counts[name] + counts_E if name in self._counts else counts_E

        return count


def is_router(model: Any, module: torch.nn.Module) -> bool:
    """Whether a module is one that transformers records router logits of: it returns (logits, weights, experts)."""
    plain = without_adapters(model)
    recorded = getattr(plain, "_can_record_outputs", None) or getattr(_backbone(plain), "_can_record_outputs", None)
    recorder = (recorded or {}).get("router_logits")
    target = getattr(recorder, "target_class", recorder)
    return isinstance(target, type) and isinstance(module, target)


def _backbone(model: Any) -> torch.nn.Module:
    plain = without_adapters(model)
    return getattr(plain, "base_model", plain)


def _num_experts(router: torch.nn.Module) -> int:
    return int(router.weight.shape[0] if router.weight.numel() else router.num_experts)


def layer_name(name: str) -> str:
    """ "model.layers.3.mlp.gate" -> "layer_3"; a name without a layer stays as it is."""
    parts = name.split(".")
    numbers = [part for before, part in pairwise(parts) if before == "layers" and part.isdigit()]
    return f"layer_{numbers[-1]}" if numbers else name


def load_metrics(loads_E: torch.Tensor) -> dict[str, float]:
    """Figures of one layer's loads: `max_violation` is the greatest load over the mean less 1 (MaxVio of arXiv
    2408.15664), `min_load` the least over the mean, `entropy` that of the shares over its maximum (1 is even),
    `dead_experts` those without a token.
    """
    loads_E = loads_E.double()
    mean = loads_E.mean().clamp(min=1e-9)
    shares = loads_E / loads_E.sum().clamp(min=1e-9)
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum() / torch.log(torch.tensor(float(len(loads_E))))
    return {
        "max_violation": float(loads_E.max() / mean - 1),
        "min_load": float(loads_E.min() / mean),
        "entropy": float(entropy),
        "dead_experts": float((loads_E == 0).sum()),
    }


def moved_bias(bias_E: torch.Tensor, loads_E: torch.Tensor, speed: float) -> torch.Tensor:
    """Return the selection bias after a step, in float32: up where an expert had less than the mean, else down."""
    return bias_E.float() + speed * torch.sign(loads_E.mean() - loads_E).to(bias_E.device, torch.float32)


class BalanceExperts(TrainerCallback):
    """Logs the loads of every step and, where a speed is given, moves the selection biases."""

    def __init__(self, trainer: Any, loads: ExpertLoads, world: World, speed: float | None):
        self.trainer, self.loads, self.world, self.speed = trainer, loads, world, speed

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called before the trainer logs and saves."""
        loads = self.loads.take(self.world)
        found = {name: load_metrics(loads_E) for name, loads_E in loads.items()}
        rows: dict[str, float] = {
            f"experts/{layer}/{key}": v for layer, each in found.items() for key, v in each.items()
        }
        rows["experts/max_violation"] = sum(each["max_violation"] for each in found.values()) / len(found)
        rows["experts/dead_experts"] = sum(each["dead_experts"] for each in found.values())
        for key, value in rows.items():
            self.trainer._metrics["train"][key].append(value)
        if self.speed is not None:
            for name, router in self.loads.routers.items():
                bias_E = getattr(router, BIAS)
                bias_E.copy_(moved_bias(bias_E, loads[name], self.speed))

    def save(self, checkpoint: Path) -> None:
        """Write the biases into a checkpoint; rank 0 does, all have the same."""
        if self.speed is not None and self.world.is_main:
            biases = {name: getattr(router, BIAS).cpu() for name, router in self.loads.routers.items()}
            save_file(biases, str(checkpoint / BIAS_FILE))

    def restore(self, checkpoint: Path) -> None:
        """Put the biases of a checkpoint back; called after those of the parent were put in."""
        if self.speed is not None:
            put_biases(self.loads.routers, load_file(checkpoint / BIAS_FILE))


class KeepsExpertBias(TrainerCallback):
    """Puts the parent's selection biases in float32 where an engine in bf16 has cast them, in every kind of stage.

    They are read from the parent's files: ZeRO-3 makes the model in bf16 to begin with.
    """

    def __init__(self, trainer: Any, parent: Path):
        self.trainer, self.parent = trainer, parent

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after the engine is made and has loaded a checkpoint."""
        for model in (self.trainer.model, getattr(self.trainer, "ref_model", None)):
            routers = {} if model is None else biased_routers(model)
            if routers:
                biases = {name: getattr(router, BIAS) for name, router in routers.items()}
                put_biases(routers, biases | stored_biases(self.parent))


def biased_routers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The modules with a selection bias among their buffers, by layer."""
    return {
        layer_name(name): module
        for name, module in model.named_modules()
        if BIAS in dict(module.named_buffers(recurse=False))
    }


def stored_biases(folder: Path) -> dict[str, torch.Tensor]:
    """The selection biases in a model's folder ([E] each), in float32, by layer."""
    with WeightReader(folder) as reader:
        return {layer_name(name): reader.read(name).float() for name in reader.names if name.endswith(BIAS)}


def put_biases(routers: dict[str, Any], biases: dict[str, torch.Tensor]) -> None:
    """Set each router's selection bias, in float32 whatever it was."""
    for name, router in routers.items():
        present_E = getattr(router, BIAS)
        if present_E.dtype == torch.float32:
            present_E.copy_(biases[name])
        else:
            setattr(router, BIAS, biases[name].to(present_E.device, torch.float32))


def balance_experts(stage: Any, trainer: Any, world: World) -> None:
    """Watch the experts of a trainer's model, if it has any, and balance them as the stage asks; UserError where the
    architecture cannot.
    """
    loads = ExpertLoads(trainer.model)
    require_balance(stage, trainer, loads)
    if loads.routers:
        speed = stage.bias_update_speed if stage.expert_balance == "bias" else None
        trainer.balance = BalanceExperts(trainer, loads, world, speed)
        trainer.add_callback(trainer.balance)


def require_balance(stage: Any, trainer: Any, loads: ExpertLoads) -> None:
    """Refuse a way of balancing that the model's architecture does not have."""
    asked, at = stage.expert_balance, f"stages.{stage.name}.expert_balance"
    kind = trainer.model.config.get_text_config().model_type
    if asked in ("aux", "bias") and not loads.routers:
        raise UserError(f"{at}: {kind} has no experts to balance; remove it")
    biased = all(hasattr(router, BIAS) for router in loads.routers.values())
    if asked == "bias" and not biased:
        raise UserError(
            f"{at}: the router of {kind} has no selection bias; use aux, the auxiliary loss it was made for"
        )
    if asked == "aux" and not has_auxiliary_loss(trainer.model):
        raise UserError(
            f"{at}: {kind} has no auxiliary loss in transformers (its router is a sigmoid; DeepSeek-V3's sequence-wise "
            "loss is not implemented there); use bias"
        )
    if asked == "aux" and not getattr(trainer, "aux_loss_enabled", False):
        raise UserError(f"{at}: the weight of the auxiliary loss is 0; set trainer.router_aux_loss_coef, e.g. 0.001")


def has_auxiliary_loss(model: Any) -> bool:
    """Whether the architecture's own modelling file has the load-balancing loss that TRL adds."""
    plain = without_adapters(model)
    return hasattr(sys.modules[type(plain).__module__], "load_balancing_loss_func")
