"""Seconds of a stage from its FLOPs, the bytes it moves and the rates of a device, by the phases of the ledger.

A forward or backward takes its FLOPs at the peak rate times the model-FLOPs utilisation (MFU), but no less than the
kernels take to launch, and reads the weights once (a CPU does more: `CPU_PASS_READS`). A decoded token reads weights
and KV cache at a share of the memory bandwidth, launches a forward's kernels, and computes. An optimizer step moves 28
bytes a parameter (float32 weight, gradient and two moments, read, and written but for the gradient). Waiting for the
network is part of the MFU's range.
"""

from dataclasses import dataclass
from math import ceil

from training.estimate.activations import tokens_with_shared_prompts
from training.estimate.adapters import adapter_parameters
from training.estimate.cache import cached_numbers
from training.estimate.flops import forward_flops, training_passes
from training.estimate.hardware import Device
from training.estimate.parameters import count
from training.estimate.shape import Shape
from training.estimate.workload import BYTES
from training.estimate.workloads import Job

PHASES = ("forward_backward", "logprobs", "generate", "optimizer", "decode")
"""Phases that are estimated. `logprobs` is the ledger's ref_logprobs and old_logprobs, `generate` the rollouts of GRPO;
`decode` the drawing of sample and evaluate stages, whose prompts no ledger measures."""
OPTIMIZER_BYTES = 28
HOST_BANDWIDTH = 20e9
"""Bytes a second of a host's CPU Adam for one rank, assumed: what an offloaded optimizer step moves."""


@dataclass(frozen=True)
class Rates:
    """How fast a device is in practice: shares of its peak FLOP/s and bandwidth, seconds to launch a layer's pass."""

    mfu: float
    bandwidth_share: float
    launch_s: float


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a row as the trained model sees it, of a prompt and of a completion, and of the longest one."""

    row: float
    prompt: float
    completion: float
    longest: float


GPU_RATES = {"fast": Rates(0.45, 0.7, 0.4e-3), "likely": Rates(0.30, 0.5, 0.8e-3), "slow": Rates(0.18, 0.3, 1.4e-3)}
"""MFU: 0.45 is a tuned trainer's (PaLM 0.46, arXiv 2204.02311); TRL with DeepSpeed stays below: prime-rl reports 0.27
for SFT of 4B on 8 H100, and short rows or slow networks cost more. Decoding is transformers' `generate` in eager mode:
some 25 kernel launches a layer from Python, 0.4 to 1.4 ms. Not measured by us: no GPU was at hand."""
CPU_RATES = {"fast": Rates(1.2, 1.2, 0.3e-3), "likely": Rates(0.9, 0.8, 1e-3), "slow": Rates(0.3, 0.3, 2e-3)}
"""Of the assumed 64 GFLOP/s a core; the machine this was written on reaches 1.1 of it in SFT (float32), and a decoding
step takes 1 ms a layer beside its products."""
CPU_PASS_READS = 5
"""What a micro-batch's pass costs a CPU beside its tokens, in times of reading the weights: products lay them out anew,
gradients go to fresh memory. Measured: 0.42 s and 5.8 ms a token for SmolLM2-135M on two cores (LOG.md, 2026-11-23)."""


def rates_of(device: Device) -> dict[str, Rates]:
    """The default rates of a device: fast, likely and slow."""
    return CPU_RATES if device.kind == "cpu" else GPU_RATES


def update_seconds(shape: Shape, job: Job, lengths: Lengths, device: Device, rates: Rates) -> dict[str, float]:
    """Seconds by phase of one optimizer step, its share of a rollout round included."""
    work = job.workload
    micro_steps = work.accumulation
    plain = work.rows * lengths.row
    tokens = tokens_with_shared_prompts(shape, work, lengths.row, lengths.prompt, lengths.completion)
    head_share = work.trained_share if work.device == "cpu" else 1.0  # training.head; TRL's head scores every position
    shares = tokens < plain
    if shares:  # as many reach the head
        head_share = work.rows * lengths.completion / tokens
    forward = tokens * forward_flops(shape, lengths.row / 2, head_share)
    passes = training_passes(work)
    other = job.old_logprobs + (1.0 if work.reference in ("copy", "adapter_off") else 0.0)
    runs = micro_steps * (2 if shares else 1)  # prompts and completions one after the other
    forward = forward * micro_steps / runs
    seconds = {
        "forward_backward": runs * _pass_seconds(shape, work.compute_dtype, forward, passes, device, rates),
        "logprobs": runs * other * _pass_seconds(shape, work.compute_dtype, forward, 1.0, device, rates),
        "optimizer": _optimizer_seconds(shape, job, device, rates),
        "generate": 0.0,
    }
    if job.rounds_per_update and job.decoded is not None:
        seconds["generate"] = job.rounds_per_update * decode_seconds(shape, job, lengths, device, rates, job.decoded)
    return seconds


def stage_decode_seconds(shape: Shape, job: Job, lengths: Lengths, device: Device, rates: Rates) -> float | None:
    """Seconds that a sample or evaluate stage decodes; None where the number of its rows is unknown."""
    if job.decoded is None:
        return None
    return decode_seconds(shape, job, lengths, device, rates, job.decoded)


def decode_seconds(shape: Shape, job: Job, lengths: Lengths, device: Device, rates: Rates, completions: float) -> float:
    """Seconds to draw `completions` on one rank: prompts once each, then token by token until the longest has ended."""
    work = job.workload
    each = BYTES[work.compute_dtype]
    context = lengths.prompt + lengths.completion / 2
    flops = device.flops(work.compute_dtype) * rates.mfu
    bandwidth = device.bandwidth * rates.bandwidth_share
    batches = ceil(completions / work.generation_rows)
    prefill = completions / job.draws * lengths.prompt * forward_flops(shape, lengths.prompt / 2, 0.0) / flops
    steps = batches * lengths.longest
    reading = steps * _weights_read(shape, each, completions / batches) / bandwidth
    cache = each * cached_numbers(shape, round(context))
    per_token = forward_flops(shape, context) / flops + cache / bandwidth
    return prefill + reading + steps * shape.layers * rates.launch_s + completions * lengths.completion * per_token


def tokens_per_second(shape: Shape, job: Job, lengths: Lengths, device: Device, rates: Rates) -> float:
    """The generation rate of one rank: completion tokens a second, prompts' time included."""
    completions = float(job.workload.generation_rows)
    spent = decode_seconds(shape, job, lengths, device, rates, completions)
    return completions * lengths.completion / spent


def _weights_read(shape: Shape, each: int, rows: float) -> float:
    """Bytes of the weights that one decoding step of `rows` rows reads: of the experts, those any row is routed to."""
    parameters = count(shape)
    if shape.experts is None:
        return float(each * parameters.total)
    unused = (1 - shape.experts.per_token / shape.experts.count) ** rows
    routed = shape.experts.layers * shape.experts.count * parameters.expert
    return each * (parameters.total - routed * unused)


def _pass_seconds(shape: Shape, dtype: str, forward: float, passes: float, device: Device, rates: Rates) -> float:
    computing = passes * forward / (device.flops(dtype) * rates.mfu)
    launching = passes * shape.layers * rates.launch_s
    reads = passes * (CPU_PASS_READS if device.kind == "cpu" else 1)
    reading = reads * BYTES[dtype] * count(shape).total / (device.bandwidth * rates.bandwidth_share)
    return max(computing, launching) + reading


def _optimizer_seconds(shape: Shape, job: Job, device: Device, rates: Rates) -> float:
    work = job.workload
    trained = count(shape).total if work.lora is None else adapter_parameters(shape, work.lora)
    shared = work.ranks if work.zero_stage else 1
    bandwidth = HOST_BANDWIDTH if work.offload_optimizer else device.bandwidth * rates.bandwidth_share
    return OPTIMIZER_BYTES * trained / shared / bandwidth
