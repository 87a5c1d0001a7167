"""Says when a CPU has no bf16 arithmetic: a step or an answer then takes minutes, and looks like a hang (ADR 004)."""

from pathlib import Path

from training.environment import CPUINFO, cpu_flags

HARDWARE = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of x86-64 (the first two) and ARM for products of bf16 numbers."""
SLOWER = 6
"""Products of bf16 numbers over those of float32 ones, measured on an EPYC with AVX2 (ADR 004). It stands for every CPU
that emulates them: on one with AVX512 but without AVX512-BF16 it was not measured."""


def emulated_words(trains: bool) -> str:
    """What is said of a stage, with the key by which one that trains, or one that only draws, leaves bf16."""
    way_out = "trainer: {bf16: false} trains" if trains else "dtype: float32 draws"
    return (
        "bf16 is emulated by this CPU (no AVX512-BF16, no AMX): products take about "
        f"{SLOWER} times as long as in float32 (docs/adr/004); {way_out} in float32, which is another experiment"
    )


def emulates_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU of `cpuinfo` tells its flags and none of them multiplies bf16 numbers."""
    flags = cpu_flags(cpuinfo)
    return bool(flags) and HARDWARE.isdisjoint(flags)
