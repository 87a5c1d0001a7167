"""The table of GPUs, names as people and drivers write them, and this machine's CPU."""

import pytest

from data.errors import UserError
from training.estimate.hardware import CORE_FLOPS, GPUS, find_gpu, gpu_of_driver_name, machine_memory, this_cpu


@pytest.mark.parametrize(
    ("text", "name"),
    [("h100-80gb", "h100-80gb"), ("H100_80GB", "h100-80gb"), ("RTX4090", "rtx4090-24gb"), ("mi300x", "mi300x-192gb")],
)
def test_find_gpu_takes_any_spelling(text: str, name: str) -> None:
    assert find_gpu(text).name == name


@pytest.mark.parametrize(("text", "named"), [("a100", ["a100-40gb", "a100-80gb"]), ("h10", ["h100-80gb"]), ("zzz", [])])
def test_find_gpu_unknown_or_ambiguous_names_the_nearest(text: str, named: list[str]) -> None:
    with pytest.raises(UserError, match=f"--gpu {text}") as error:
        find_gpu(text)
    hint = str(error.value).partition("Known are")[0]
    assert all(name in hint for name in named)
    assert bool(named) == ("did you mean" in hint)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA H100 PCIe", "h100-80gb-pcie"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A10", "a10-24gb"),
        ("NVIDIA L40S", "l40s-48gb"),
        ("NVIDIA GeForce RTX 3090", "rtx3090-24gb"),
        ("AMD Instinct MI300X", "mi300x-192gb"),
    ],
)
def test_gpus_are_known_by_their_drivers_names(text: str, name: str) -> None:
    found = gpu_of_driver_name(text)
    assert found is not None
    assert found.name == name


def test_unknown_driver_name_is_no_gpu_of_the_table() -> None:
    assert gpu_of_driver_name("NVIDIA Quadro K4000") is None


def test_memory_of_a_name_is_its_memory() -> None:
    """A slip in the table would plan for another device."""
    for name, device in GPUS.items():
        assert name.split("-")[1] == f"{device.memory / 1e9:.0f}gb"
        assert device.flops16 > device.flops32


def test_this_cpu_is_shared_among_the_ranks() -> None:
    whole, half = this_cpu(1, cores=4, memory=16e9), this_cpu(2, cores=4, memory=16e9)
    assert whole.flops32 == 4 * CORE_FLOPS
    assert (half.flops32, half.memory, half.name) == (2 * CORE_FLOPS, 8e9, whole.name)


def test_machine_memory_is_plausible() -> None:
    assert 1e9 < machine_memory() < 1e14
