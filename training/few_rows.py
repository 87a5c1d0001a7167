"""Products of a few rows with whole matrices on one thread of a CPU: `few_rows.c`, compiled on first use.

A decoding step of 8 rows spends most of its time in such products, for which no library has a kernel that keeps up with
the memory (docs/speed.md has the figures). The machine's C compiler builds ours in a second; the file is kept in the
cache folder by the hash of the source and of the processor's features, so that a home shared by different hosts serves
each of them.
"""

import ctypes
import functools
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import torch

from training.environment import cpu_flags
from training.identity import cache_root, sha256_text

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-funroll-loops", "-std=gnu11", "-shared", "-fPIC")
TIMEOUT_S = 120.0


class CannotBuildError(Exception):
    """There is no kernel here, for the reason it tells."""


def why_not_few_rows() -> str | None:
    """What keeps this process from the kernel, in words; None where nothing does."""
    if torch.get_num_threads() > 1:
        return "the rank has several threads"
    found = _found()
    return found if isinstance(found, str) else None


class FewRows:
    """x [..., K] -> x weight^T + bias [..., N] in float32, from copies of a layer's weight and bias as they were.

    A row has the same bits however many rows there are.
    """

    def __init__(self, weight_NK: torch.Tensor, bias_N: torch.Tensor | None) -> None:
        kernel = _found()
        assert not isinstance(kernel, str), kernel
        assert weight_NK.dtype == torch.float32
        assert weight_NK.device.type == "cpu"
        self._outputs, self._inputs = weight_NK.shape
        width = kernel.panel_width()
        size = -(-self._outputs // width) * width * self._inputs
        self._packed = torch.empty(size, dtype=torch.float32, device="cpu")
        weight_NK = weight_NK.detach().contiguous()
        kernel.lay_out(weight_NK.data_ptr(), self._packed.data_ptr(), self._outputs, self._inputs)
        self._bias_N = None if bias_N is None else bias_N.detach().clone()
        self._multiply = kernel.few_rows

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.float32
        rows_MK = x.reshape(-1, self._inputs).contiguous()
        out_MN = rows_MK.new_empty(len(rows_MK), self._outputs)
        bias = None if self._bias_N is None else self._bias_N.data_ptr()
        sizes = len(rows_MK), self._outputs, self._inputs
        if len(rows_MK):
            self._multiply(rows_MK.data_ptr(), self._packed.data_ptr(), bias, out_MN.data_ptr(), *sizes)
        return out_MN.view(*x.shape[:-1], self._outputs)


@functools.cache
def _found() -> ctypes.CDLL | str:
    """The compiled kernel, or why there is none."""
    try:
        library = _loaded()
    except (CannotBuildError, OSError, ValueError) as error:
        return str(error)
    pointer, number = ctypes.c_void_p, ctypes.c_long
    library.few_rows.argtypes = [pointer] * 4 + [number] * 3
    library.lay_out.argtypes = [pointer] * 2 + [number] * 2
    library.few_rows.restype = library.lay_out.restype = None
    return library


def _loaded() -> ctypes.CDLL:
    """The library; a file that a full disk or a power cut has left in part is made once more."""
    path = _built()
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        path.unlink(missing_ok=True)
        return ctypes.CDLL(str(_built()))


def _built() -> Path:
    """The shared library, compiled unless it is there; other ranks may be at it too, the last one's file stays."""
    source = SOURCE.read_text()
    name = sha256_text("\n".join([source, *FLAGS, *sorted(cpu_flags())]))[:24]
    path = cache_root() / "kernels" / f"few_rows-{name}.so"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [*shlex.split(os.environ.get("CC") or "cc"), *FLAGS, "-o", str(made), str(SOURCE)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
        except FileNotFoundError:
            raise CannotBuildError(f"no C compiler ({command[0]})") from None
        except subprocess.CalledProcessError as error:
            raise CannotBuildError(f"{command[0]} failed: {error.stderr.strip()[-200:]}") from None
        except subprocess.TimeoutExpired:
            raise CannotBuildError(f"{command[0]} took more than {TIMEOUT_S:.0f} s") from None
        made.replace(path)
    return path
