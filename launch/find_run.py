"""From what a user types (a folder, a name, a YAML file) to the run folder meant."""

from pathlib import Path

from data.errors import UserError
from training.config import load_pipeline
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
    looked = " nor ".join(str(candidate.path) for candidate in candidates)
    raise UserError(
        f"{text}: no run there (no {RESOLVED_NAME} in {looked}); give runs/NAME, NAME, or the pipeline's YAML"
    )
