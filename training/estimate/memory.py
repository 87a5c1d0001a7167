"""Peak memory of one rank, phase by phase and part by part, from the model's shape and the stage's workload.

Every number follows from `states`, `activations`, `cache` and `adapters`; what is measured stands in `constants`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from training.estimate import constants
from training.estimate.activations import activation_bytes, logit_bytes
from training.estimate.adapters import adapter_parameters
from training.estimate.cache import cache_bytes, drawing_bytes
from training.estimate.parameters import Parameters, count
from training.estimate.shape import Shape
from training.estimate.states import MASTER, States, bucket_bytes, zero_states
from training.estimate.workload import BYTES, Workload

PARTS = (
    "framework", "weights", "sampler", "gradients", "optimizer", "activations", "logits", "kv_cache", "reference",
    "scoring", "buffers", "autocast", "packed", "slack",
)  # fmt: skip
"""What a phase is made of. `sampler` is the copy that draws one step off policy, `scoring` a reward model beside the
model, `autocast` are weights cast for a forward pass, `packed` those laid out anew for drawing, `slack` what allocators
cannot reuse."""
NF4_BYTES = 0.516
"""Bytes of a weight in 4-bit NormalFloat with double quantisation (arXiv 2305.14314, section 3): 4.127 bits."""


@dataclass(frozen=True)
class Phase:
    """One phase of a stage (load, generate, forward_backward, optimizer, save): bytes by part on the device that
    computes, and bytes in the host's memory where states are offloaded to it.
    """

    name: str
    parts: Mapping[str, float]
    host: float = 0.0

    @property
    def total(self) -> float:
        """Bytes of all parts on the device that computes."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Memory:
    """The phases of a stage on one rank."""

    phases: tuple[Phase, ...]

    @property
    def peak(self) -> float:
        """Bytes of the largest phase."""
        return self.peak_phase.total

    @property
    def peak_phase(self) -> Phase:
        """The phase that decides whether it fits."""
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def host_peak(self) -> float:
        """Bytes that offloading and saving put into the host's memory, of this rank alone."""
        return max(phase.host for phase in self.phases)


def memory(shape: Shape, workload: Workload) -> Memory:
    """Estimate `workload` on a model of `shape`; parts of 0 bytes are left out."""
    parameters = count(shape)
    scoring = float(workload.scoring_parameters * BYTES[workload.compute_dtype])
    if not workload.trains:
        weights = float(parameters.total * BYTES[workload.compute_dtype])
        common = {"framework": _framework(workload), "weights": weights, "scoring": scoring}
        return Memory((_phase("load", common), _phase("generate", common, _generation(shape, workload))))
    states = trained_states(shape, workload)
    kept = {
        "framework": _framework(workload),
        "weights": states.weights,
        "sampler": states.weights if workload.copies_policy else 0.0,
        "optimizer": 0.0 if workload.offload_optimizer else states.optimizer,
        "reference": _reference(parameters, workload),
        "scoring": scoring,
        "buffers": _buffers(shape, workload),
    }
    host = states.optimizer + _flat_gradients(parameters, workload) if workload.offload_optimizer else 0.0
    if workload.offload_parameters:
        host, kept["weights"] = host + states.weights, 0.0
    loading = {"framework": kept["framework"], "weights": float(parameters.total * MASTER)}
    phases = [_phase("load", loading if workload.device == "cpu" else {**loading, "weights": states.weights})]
    if workload.kind == "grpo":
        phases.append(_phase("generate", kept, _generation(shape, workload), host))
    training = _training(shape, workload, states)
    if workload.copies_policy:
        training = _at_once(training, _generation(shape, workload))
    phases.append(_phase("forward_backward", kept, training, host))
    stepping = _stepping(parameters, workload, states)
    if workload.copies_policy:
        stepping = _at_once(stepping, _generation(shape, workload))
    phases.append(_phase("optimizer", kept, stepping, host))
    if workload.lora is not None and workload.lora.merged:
        phases.append(_merging(parameters, workload, kept, host))
    else:
        phases.append(_saving(parameters, workload, kept, host))
    return Memory(tuple(phases))


def _phase(name: str, *parts_and_host: Mapping[str, float] | float) -> Phase:
    """Merge mappings of parts, with slack on what is allocated anew; a number at the end is the host's bytes."""
    host = sum(value for value in parts_and_host if isinstance(value, float))
    parts: dict[str, float] = {}
    for mapping in parts_and_host:
        if isinstance(mapping, Mapping):
            parts |= mapping
    return Phase(name, {part: parts[part] for part in PARTS if parts.get(part)}, host)


def trained_states(shape: Shape, workload: Workload) -> States:
    """Weights, gradients and optimizer of a training rank on the way our trainers take.

    Without DeepSpeed the weights are float32 masters (autocast casts copies): 4 + 4 + 8 bytes. DeepSpeed keeps masters
    of its own beside weights in the compute dtype. Under LoRA the model's weights are frozen, nf4 under QLoRA.
    """
    parameters, lora = count(shape), workload.lora
    dtype = MASTER if workload.zero_stage == 0 else BYTES[workload.compute_dtype]
    optimizer = 8 if workload.zero_stage == 0 else MASTER + 8
    trained = parameters.total if lora is None else adapter_parameters(shape, lora)
    states = zero_states(trained, workload.ranks, workload.zero_stage, dtype, dtype, optimizer)
    if lora is None:
        return states
    frozen = parameters.total * float(dtype)
    if lora.quantized:
        plain = parameters.embedding + parameters.lm_head
        frozen = plain * 4.0 + (parameters.total - plain) * NF4_BYTES
    split = workload.ranks if workload.zero_stage == 3 else 1
    return States(states.weights + frozen / split, states.gradients, states.optimizer)


def _framework(workload: Workload) -> float:
    if workload.device == "gpu":
        return float(constants.FRAMEWORK_GPU)
    if not workload.trains:
        return float(constants.FRAMEWORK_CPU_DECODE)
    deepspeed = constants.FRAMEWORK_CPU_DEEPSPEED if workload.zero_stage else 0
    return float(constants.FRAMEWORK_CPU_TRAIN + deepspeed)


def _reference(parameters: Parameters, workload: Workload) -> float:
    """A second copy of the parent: float32 without DeepSpeed, else in the compute dtype, split under ZeRO-3."""
    if workload.reference != "copy":
        return 0.0
    if workload.zero_stage == 0:
        return float(parameters.total * MASTER)
    return parameters.total * BYTES[workload.compute_dtype] / (workload.ranks if workload.zero_stage == 3 else 1)


def _buffers(shape: Shape, workload: Workload) -> float:
    parameters, dtype = count(shape), BYTES[workload.compute_dtype]
    trained = parameters.total if workload.lora is None else adapter_parameters(shape, workload.lora)
    return bucket_bytes(trained, workload.zero_stage, dtype, parameters.layer, workload.device == "cpu")


def _slack(workload: Workload, fresh: float, holes: bool = False) -> float:
    """What the allocator cannot use again; `holes` where much is allocated and freed between what is kept."""
    if workload.device == "gpu":
        return fresh * constants.SLACK_GPU
    return fresh * (constants.HEAP_HOLES_CPU if holes else constants.HEAP_SLACK_CPU)


def _leaves_holes(workload: Workload) -> bool:
    between = workload.lora is not None or workload.attention == "eager" or workload.checkpointing
    return between or workload.zero_stage > 0


def _cast_weights(shape: Shape, workload: Workload) -> float:
    """Autocast casts every float32 weight once a forward pass and holds the copies until its backward pass ends."""
    if workload.zero_stage > 0 or workload.compute_dtype == "float32":
        return 0.0
    parameters = count(shape)
    return float((parameters.total - (0 if shape.tied else parameters.embedding)) * BYTES[workload.compute_dtype])


def _training(shape: Shape, workload: Workload, states: States) -> dict[str, float]:
    """Gradients, activations and logits at the start of a backward pass.

    With one micro-batch a step on one rank the gradients grow as the activations go, so the larger of both counts.
    DDP's buckets are the gradients (`training.gradient_buckets`).
    """
    activations, logits = activation_bytes(shape, workload), logit_bytes(shape, workload)
    gradients = states.gradients
    if workload.accumulation == 1 and workload.ranks == 1:
        gradients = max(0.0, gradients - activations - logits)
    return {
        "gradients": gradients,
        "activations": activations,
        "logits": logits,
        "autocast": _cast_weights(shape, workload),
        "slack": _slack(workload, activations + logits, _leaves_holes(workload)),
    }


def _at_once(*works: Mapping[str, float]) -> dict[str, float]:
    """The parts of works that go on beside each other."""
    named = {part for work in works for part in work}
    return {part: sum(work.get(part, 0.0) for work in works) for part in named}


def _generation(shape: Shape, workload: Workload) -> dict[str, float]:
    """Cache and logits of decoding; under ZeRO-3 the whole weights are gathered for it (TRL's default)."""
    cached, drawn = cache_bytes(shape, workload), drawing_bytes(shape, workload)
    gathered = 0.0
    if workload.trains and workload.zero_stage == 3:
        gathered = count(shape).total * BYTES[workload.compute_dtype] * (1 - 1 / workload.ranks)
    parts = {"kv_cache": cached, "logits": drawn, "slack": _slack(workload, cached + drawn)}
    parts["autocast"] = gathered + (_cast_weights(shape, workload) if workload.trains else 0.0)
    parts["packed"] = _packed_weights(shape, workload)
    return parts


def _packed_weights(shape: Shape, workload: Workload) -> float:
    """The copy of the linear layers that rollouts use (`training.packed_linear`); experts and routers are no such
    layers, attention, the head and the blocks that all tokens share are.
    """
    if not workload.packs or workload.zero_stage == 3:
        return 0.0
    parameters, experts = count(shape), shape.experts
    copied = parameters.total - (0 if shape.tied else parameters.embedding)
    if experts is not None:
        copied -= experts.layers * (parameters.router + experts.count * parameters.expert)
    return float(copied * MASTER)


def _stepping(parameters: Parameters, workload: Workload, states: States) -> dict[str, float]:
    """Gradients at the optimizer's step; DeepSpeed flattens this rank's share of them into float32, on the host where
    the optimizer is offloaded to it.
    """
    if workload.zero_stage == 0 or workload.offload_optimizer:
        return {"gradients": states.gradients}
    return {"gradients": states.gradients + _flat_gradients(parameters, workload)}


def _flat_gradients(parameters: Parameters, workload: Workload) -> float:
    """This rank's share of the gradients in float32; ZeRO-Offload keeps it beside the optimizer (arXiv 2101.06840)."""
    return parameters.total * float(MASTER) / workload.ranks if workload.lora is None else 0.0


def _saving(parameters: Parameters, workload: Workload, kept: Mapping[str, float], host: float) -> Phase:
    """Every rank gathers the float32 masters on the CPU; without DeepSpeed on a CPU they are the weights themselves."""
    gathered = float(parameters.total * MASTER) if workload.lora is None else 0.0
    if workload.device == "gpu":
        return _phase("save", kept, host + gathered)
    return _phase("save", kept, {"gradients": gathered} if workload.zero_stage else {}, host)


def _merging(parameters: Parameters, workload: Workload, kept: Mapping[str, float], host: float) -> Phase:
    """Rank 0 folds the adapter into a second copy of the parent, in float32 on the CPU, beside the model it trained
    (`training.adapters.merged_model`). What training took was given back before (`training.heap`).
    """
    copy = float(parameters.total * MASTER)
    if workload.device == "gpu":
        return _phase("save", kept, host + copy)
    return _phase("save", {**kept, "weights": kept["weights"] + copy}, host)
