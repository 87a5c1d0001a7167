"""What a stage process is started with: its command line and the environment that srun and torchrun would give too."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.rendezvous import Rendezvous, local_rendezvous
from training.config import Runtime
from training.environment import available_cores, has_accelerator
from training.walltime import END_TIME_VARIABLE
from training.world import COLLECTIVE_TIMEOUT_VARIABLE, THREADS_VARIABLE

_ROOT = Path(__file__).resolve().parent.parent
_LAUNCHER_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_TELEMETRY_OFF = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_ERROR_REPORTING": "false",
}
_KEEP_FREED_MEMORY = {  # mallopt(3)
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_ARENA_MAX": "1",
}
"""On a CPU every step frees and asks again for the same gigabytes of activations. glibc would hand large blocks
back to the kernel each time, and touching new pages costs up to a third of a step, so it keeps them. What the user
set stays."""
COLLECTIVE_TIMEOUT_FACTOR = 10
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def stage_command(
    config: Path, arguments: Sequence[str], overrides: Sequence[str], run_dir: Path, debug: bool
) -> list[str]:
    """Return the command of a stage process; `arguments` say what it does (`--stage NAME` or `--check`)."""
    command = [sys.executable, "-m", "training.run_stage", str(config), *arguments, "--run-dir", str(run_dir)]
    for override in overrides:
        command += ["--set", override]
    return [*command, "--debug"] if debug else command


def users_threads(outer: Mapping[str, str] = os.environ) -> int | None:
    """The threads that the user's own OMP_NUM_THREADS asks for (of "4,2" the outermost 4), or None."""
    first = outer.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def runner_environment(offline: bool, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a runner that we start ourselves, from any folder; it chooses its ranks' threads itself."""
    (ours,) = rank_environments(Runtime(), offline, outer)
    del ours[THREADS_VARIABLE], ours["OMP_NUM_THREADS"]
    return ours | {name: outer[name] for name in ("OMP_NUM_THREADS",) if name in outer}


def rank_environments(
    runtime: Runtime,
    offline: bool,
    outer: Mapping[str, str] = os.environ,
    node: int = 0,
    rendezvous: Rendezvous | None = None,
    end_time: float | None = None,
) -> list[dict[str, str]]:
    """Return the environment of each rank of one node; a single rank without DeepSpeed gets no process group.

    Threads are the config's, else those of the user's OMP_NUM_THREADS, else the cores divided among the ranks.
    Without a `rendezvous` the ranks meet on this host. `end_time` (seconds since 1970) is when they must have ended.
    """
    local_size = runtime.processes // runtime.nodes
    common = {key: value for key, value in outer.items() if key not in _LAUNCHER_NAMES}
    common.update(_TELEMETRY_OFF)
    if offline:
        common.update(_OFFLINE)
    if not has_accelerator():
        common.setdefault("DS_ACCELERATOR", "cpu")
        common = {**_KEEP_FREED_MEMORY, **common}
    threads = runtime.threads_per_process or users_threads(outer) or max(1, available_cores() // local_size)
    common["OMP_NUM_THREADS"] = common[THREADS_VARIABLE] = str(threads)
    if end_time is not None:
        common[END_TIME_VARIABLE] = str(end_time)
    if runtime.stall_limit is not None:  # the hang doctor speaks first: it knows more than a collective's timeout
        common[COLLECTIVE_TIMEOUT_VARIABLE] = str(COLLECTIVE_TIMEOUT_FACTOR * runtime.stall_limit)
    common["TOKENIZERS_PARALLELISM"] = "false"
    common["PYTHONUNBUFFERED"] = "1"
    common["PYTHONSAFEPATH"] = "1"  # a folder named data/ where the user works must not hide our package
    common["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), outer.get("PYTHONPATH")]))
    if runtime.processes == 1 and runtime.zero_stage == 0:
        return [common]
    meeting = rendezvous or local_rendezvous(runtime)
    world = {
        "WORLD_SIZE": str(runtime.processes),
        "LOCAL_WORLD_SIZE": str(local_size),
        "GROUP_RANK": str(node),
        "MASTER_ADDR": meeting.address,
        "MASTER_PORT": str(meeting.port),
    }
    return [
        {**common, **world, "RANK": str(node * local_size + place), "LOCAL_RANK": str(place)}
        for place in range(local_size)
    ]
