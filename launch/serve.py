"""The command of a server for one model: vLLM's or transformers' own, whichever is installed. We write no server."""

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

from data.errors import UserError
from launch.model_path import ModelPath

NEEDED_BY_TRANSFORMERS = ("fastapi", "uvicorn", "openai")
INSTALL = {"vllm": "pip install vllm", "transformers": "pip install 'transformers[serving]'"}


def server_command(place: ModelPath, backend: str, host: str, port: int) -> list[str]:
    """Return the command that serves `place`; `backend` auto prefers vLLM. UserError where none is installed."""
    if place.is_adapter:
        raise UserError(f"{place.folder} holds an adapter; serve the folder of an export stage, which merges it")
    programs = {"vllm": vllm_program(), "transformers": transformers_program()}
    chosen = next((name for name, program in programs.items() if program), None) if backend == "auto" else backend
    program = None if chosen is None else programs[chosen]
    if chosen is None or program is None:
        wanted = list(INSTALL.values()) if chosen is None else [INSTALL[chosen]]
        raise UserError(
            f"no server is installed beside {sys.executable}; {' or '.join(wanted)}, then repeat the command"
        )
    return [*program, "serve", *_arguments(chosen, place), "--host", host, "--port", str(port)]


def _arguments(backend: str, place: ModelPath) -> list[str]:
    folder = place.folder.resolve()
    if place.gguf_file is None:
        return [str(folder)]
    if backend == "vllm":
        return [str(folder / place.gguf_file)]
    return [f"{folder}:{place.gguf_file}"]


def vllm_program() -> list[str] | None:
    """vLLM's command: beside this Python, else on the path."""
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.is_file() else shutil.which("vllm")
    return None if found is None else [found]


def transformers_program() -> list[str] | None:
    """transformers' command in this Python, where what its server needs is installed."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED_BY_TRANSFORMERS):
        return None
    return [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]


def hand_over(command: list[str], dry_run: bool) -> None:
    """Show the command and become it; with `dry_run` only show it."""
    print(shlex.join(command), flush=True)
    if not dry_run:
        os.execv(command[0], command)
