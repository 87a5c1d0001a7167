"""Ranks in a container image: what srun or apptainer is told. `posttrain run` itself stays outside, in the script.

Written against the documentation of pyxis and apptainer; neither was at hand to run it.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.config import Runtime
from training.config.slurm import Container
from training.identity import cache_root

_ROOT = Path(__file__).resolve().parent.parent.parent
_ONE_TASK = ("srun", "--nodes=1", "--ntasks=1", "--overlap", "--cpu-bind=none")


def container_of(runtime: Runtime, outer: Mapping[str, str] = os.environ) -> Container | None:
    """Return the container that ranks run in, which is a matter of Slurm jobs: None outside one."""
    return runtime.slurm.container if runtime.slurm is not None and "SLURM_JOB_ID" in outer else None


def inside(container: Container, command: Sequence[str], config: Path, run_dir: Path) -> list[str]:
    """Return what follows srun's own options to run `command` in the image; its first word, our Python, is replaced.

    The checkout, the working directory, the pipeline file's folder, the run folder and the cache of converted models
    are mounted where they are.
    """
    words = ["env", f"PYTHONPATH={_ROOT}", "PYTHONSAFEPATH=1", container.python, *command[1:]]
    work = Path.cwd()
    folders = dict.fromkeys(str(path.absolute()) for path in (_ROOT, work, config.parent, run_dir, cache_root()))
    mounts = ",".join([*(f"{folder}:{folder}" for folder in folders), *container.mounts])
    if container.runtime == "pyxis":
        image = [f"--container-image={container.image}", f"--container-mounts={mounts}"]
        return [*image, f"--container-workdir={work}", *words]
    return ["apptainer", "exec", "--nv", "--bind", mounts, "--pwd", str(work), container.image, *words]


def one_task_inside(container: Container | None, command: Sequence[str], config: Path, run_dir: Path) -> list[str]:
    """Return `command` as one srun task in the image; unchanged without a container."""
    return list(command) if container is None else [*_ONE_TASK, *inside(container, command, config, run_dir)]
