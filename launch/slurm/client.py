"""Slurm's commands as we call them: one place that knows their options and how they fail."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from data.errors import UserError

TIMEOUT_S = 120.0
_CONFIGURATION = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")


def require(program: str) -> None:
    """Refuse a machine without one of Slurm's commands."""
    if shutil.which(program) is None:
        raise UserError(
            f"there is no `{program}` on this machine: call `posttrain submit` on a login node of the cluster, "
            "or `posttrain run` here; `--dry-run` writes the scripts anywhere"
        )


def ask(program: str, *arguments: str) -> str:
    """Return what one of Slurm's commands prints; UserError with its message where it fails or does not answer."""
    require(program)
    try:
        done = _run([program, *arguments])
    except subprocess.TimeoutExpired as error:
        raise UserError(f"`{program}` has not answered for {TIMEOUT_S:.0f} s; is Slurm's controller up?") from error
    if done.returncode != 0:
        message = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise UserError(f"`{program}` refused: {message}")
    return done.stdout


def try_to_ask(program: str, *arguments: str) -> str | None:
    """Return what a command prints, or None where it is missing or fails (a cluster without accounting)."""
    if shutil.which(program) is None:
        return None
    try:
        done = _run([program, *arguments])
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run without the variables of a job we may be in: a job submitted from it would take over its size."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SLURM_") or name in _CONFIGURATION
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
