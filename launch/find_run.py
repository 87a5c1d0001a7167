"""From what a user types (a folder, a name, a YAML file) to the run folder meant."""

from pathlib import Path

from data.errors import UserError
from training.config import load_pipeline
from training.record import RECORD_NAME
from training.run_folder import RESOLVED_NAME, RunFolder, run_path

DEFAULT_RUNS_DIR = Path("runs")


def find_run(text: str) -> RunFolder:
    """Return the run folder of a path, of a name under `runs/`, or of a pipeline file; UserError if there is none."""
    path = Path(text)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        pipeline = load_pipeline(path)
        folder = RunFolder(run_path(pipeline))
        folder.check(pipeline.name)
        candidates = [folder]
    else:
        candidates = [RunFolder(path), RunFolder(DEFAULT_RUNS_DIR / text)]
    for candidate in candidates:
        if candidate.resolved_path.is_file():
            return candidate
    left = [one for one in candidates if any((found.path / RECORD_NAME).is_file() for found in one.stages())]
    if left:
        return left[0]  # its pipeline.resolved.json is lost; what reads it says so
    looked = " nor ".join(str(candidate.path) for candidate in candidates)
    raise UserError(
        f"{text}: no run there (no {RESOLVED_NAME} in {looked}); give runs/NAME, NAME, or the pipeline's YAML"
    )


def find_runs(text: str) -> list[RunFolder]:
    """Return the run that `text` means, or the runs of an array or sweep whose folder it is."""
    for folder in (Path(text), DEFAULT_RUNS_DIR / text):
        if folder.is_dir() and not RunFolder(folder).resolved_path.is_file():
            runs = [RunFolder(path.parent) for path in sorted(folder.glob(f"*/{RESOLVED_NAME}"))]
            if runs:
                return runs
    return [find_run(text)]
