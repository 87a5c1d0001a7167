"""`posttrain doctor [CONFIG]`: is this machine fit to run, and what to do where it is not.

Each check is a function from a `Machine` to what it found; torch is imported in a child process alone, and only where
there is a GPU to ask about. With a CONFIG the checks know what is needed, and its own mistakes are told as well.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from launch.doctor_finding import Finding, Machine
from launch.doctor_gpu import gpus
from launch.doctor_software import build_locks, compiler, packages, python, slurm, vllm
from launch.doctor_system import caches, clock, cores_and_memory, disk, open_files, proxies, shared_memory, tracker
from launch.slots import require_slots
from launch.words import table
from training.config import Pipeline, load_pipeline

CHECKS: tuple[Callable[[Machine], Iterable[Finding]], ...] = (
    python,
    packages,
    cores_and_memory,
    gpus,
    shared_memory,
    disk,
    caches,
    clock,
    open_files,
    compiler,
    build_locks,
    tracker,
    proxies,
    vllm,
    slurm,
)
NOT_FIT = 2


@dataclass(frozen=True)
class DoctorRequest:
    """What the user asked for; without a config the machine is judged for the defaults."""

    config_path: Path | None
    overrides: list[str]


def doctor(request: DoctorRequest) -> int:
    """Print the findings; returns 2 where something fails."""
    findings, pipeline = [], None
    if request.config_path is not None:
        pipeline, found = _config(request.config_path, request.overrides)
        findings += found
    machine = Machine(pipeline, dict(os.environ))
    findings += [finding for check in CHECKS for finding in check(machine)]
    print(text(findings))
    return NOT_FIT if any(finding.state == "fail" for finding in findings) else 0


def _config(path: Path, overrides: list[str]) -> tuple[Pipeline | None, list[Finding]]:
    """The pipeline, if it can be read, and whether this host has room for its ranks."""
    try:
        pipeline = load_pipeline(path, overrides)
        require_slots(pipeline.runtime)
    except UserError as error:
        first, *rest = str(error).splitlines()
        more = f" (and {len(rest)} more)" if rest else ""
        return None, [Finding("config", "fail", f"{first}{more}", "change the config; `posttrain plan` tells it all")]
    runtime = pipeline.runtime
    ranks = f"{runtime.processes} ranks on {runtime.nodes} nodes" if runtime.nodes > 1 else f"{runtime.processes} ranks"
    return pipeline, [Finding("config", "ok", f"{pipeline.name}: {len(pipeline.stages)} stages, {ranks}")]


def text(findings: list[Finding]) -> str:
    """Return the table, the fixes beneath it, and a closing line."""
    rows = [[finding.name, finding.state, finding.found] for finding in findings]
    fixes = [f"{finding.name}: {finding.fix}" for finding in findings if finding.state != "ok"]
    counts = {state: sum(finding.state == state for finding in findings) for state in ("ok", "warn", "fail")}
    closing = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return "\n".join([table(["check", "state", "found"], rows), "", *fixes, *([""] if fixes else []), closing])
