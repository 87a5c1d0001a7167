"""`runtime.deterministic`: torch refuses operations that give other bits from run to run, on a GPU above all.

On a CPU every operation of ours is deterministic as it is (same threads, same ranks): nothing changes but that torch
checks. On a GPU cuBLAS gets a fixed workspace, flash attention its deterministic backward, and kernels that add in the
order in which threads come (scatter, index_add) are replaced or refused by name. docs/resume.md has the cost.
"""

import os


def make_deterministic() -> None:
    """Have this process compute the same bits each time; call it before the first CUDA operation."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["FLASH_ATTENTION_DETERMINISTIC"] = "1"
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for code that reads what it never wrote
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
