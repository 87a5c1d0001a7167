"""`posttrain clean`: the stage folders that the present config does not use, listed, and removed when asked."""

import shutil
from pathlib import Path

from launch.lock import RunLock
from launch.words import size
from training.config import load_pipeline
from training.plan import plan_run
from training.run_folder import RunFolder, StageFolder, run_path

_REMOVING = ".removing-"


def clean(config: Path, overrides: list[str], run_dir: Path | None, remove: bool) -> str:
    """Return what is unused, or what was removed with `remove`; the run must not be in use.

    A folder is renamed before its files go, so that an interrupted removal leaves no artifact with files missing.
    """
    pipeline = load_pipeline(config, overrides)
    run = RunFolder(run_path(pipeline, run_dir))
    run.check(pipeline.name)
    if not run.path.is_dir():
        return f"{run.path} does not exist; nothing to clean"
    with RunLock(run.path):
        unused = unused_folders(run, set(plan_run(pipeline, run.path).folders.values()))
        lines = [f"{folder.path}  {size(folder_size(folder.path))}" for folder in unused]
        if not unused:
            return f"{run.path}: every stage folder is in use"
        count = f"{len(unused)} unused folder{'' if len(unused) == 1 else 's'}"
        if not remove:
            return "\n".join([*lines, f"{count}; --yes removes {'it' if len(unused) == 1 else 'them'}"])
        for folder in unused:
            folder.path.rename(run.path / f"{_REMOVING}{folder.path.name}")
        for path in run.path.glob(f"{_REMOVING}*"):
            shutil.rmtree(path)
        return "\n".join([*lines, f"{count} removed"])


def unused_folders(run: RunFolder, used: set[Path]) -> list[StageFolder]:
    """Return the stage folders of a run that are not among `used`."""
    return [folder for folder in run.stages() if folder.path not in used]


def folder_size(path: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed."""
    return sum(entry.lstat().st_size for entry in path.rglob("*") if not entry.is_dir() or entry.is_symlink())
