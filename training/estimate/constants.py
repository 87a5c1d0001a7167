"""The few numbers of the memory model that are measured rather than derived; everything else is arithmetic.

Measured on Linux x86-64, Python 3.11, torch 2.13 (CPU), transformers 5.23, TRL 1.16 and DeepSpeed 0.19 by
`benchmarks/memory_accuracy.py`, whose `tiny` cases are little else than the first two. GPU numbers are not measured on
our machines: a CUDA context takes 0.4 to 0.8 GB, and PyTorch's allocator leaves some blocks half used.
"""

MB = 1_000_000

FRAMEWORK_CPU_TRAIN = 600 * MB
"""Resident set of a rank with torch, transformers and trl imported and a data set prepared, without any weights."""

FRAMEWORK_CPU_DECODE = 420 * MB
"""The same for `sample` and `evaluate`, which need no trl."""

FRAMEWORK_CPU_DEEPSPEED = 60 * MB
"""What importing DeepSpeed and its shared-memory operator adds."""

HEAP_SLACK_CPU = 0.22
"""Share of activations and logits that the C library's heap holds on top: freed blocks between used ones."""

HEAP_HOLES_CPU = 1.0
"""The same where more comes and goes between what is kept: adapters, eager attention, recomputed layers, DeepSpeed. Set
from six rows of docs/plan.md, whose shares are 0.75 (eager), 1.0 and 1.1 (LoRA), 1.4 (ZeRO-2), 1.5 (recomputed) and
1.4 (both)."""

FRAMEWORK_GPU = 700 * MB
"""CUDA context, cuBLAS workspaces and NCCL buffers of a rank: outside PyTorch's allocator, but on the device."""

SLACK_GPU = 0.05
"""Share of activations, logits and cache lost to the caching allocator's rounding and fragmentation."""
