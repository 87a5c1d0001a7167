"""The heap of a stage process: `launch.rank_environment` has it keep what was freed; here that is given back."""

import ctypes


def give_back_freed_memory() -> None:
    """Hand freed pages back to the kernel (malloc_trim(3)), before something large that lies outside the heap.

    Only glibc has it; elsewhere nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
