"""From what the user asked of `posttrain submit` to the runs that are submitted: one, or the members of an array."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from launch.slurm.submit import MemberRun, SubmitRequest
from training.config import load_pipeline
from training.config.sweep import LoadedSweep, load_sweep
from training.run_folder import run_path


def request_of(arguments: argparse.Namespace) -> SubmitRequest:
    """Return what `posttrain submit` shall submit; raises UserError for arguments that do not go together."""
    how = {name: getattr(arguments, name) for name in ("one_job", "past_gates", "dry_run")}
    if arguments.run_dir is not None and (arguments.seeds or arguments.array):
        raise UserError("--run-dir names one run folder; the runs of an array have one each. Leave it out")
    if arguments.array is not None:
        sweep = load_sweep(arguments.array, arguments.overrides)
        if sweep.config_path.resolve() != arguments.config.resolve():
            raise UserError(f"{arguments.array} varies {sweep.config_path}, not {arguments.config}; give that one")
        return sweep_request(sweep, **how)
    if arguments.seeds is not None:
        return seeds_request(arguments.config, arguments.overrides, _seeds(arguments.seeds), **how)
    pipeline = load_pipeline(arguments.config, arguments.overrides)
    run_dir = run_path(pipeline, arguments.run_dir)
    member = MemberRun(pipeline.name, pipeline, list(arguments.overrides), run_dir)
    return SubmitRequest(pipeline.name, arguments.config, [member], run_dir, **how)


def sweep_request(sweep: LoadedSweep, **how: bool) -> SubmitRequest:
    """Return the request of a sweep: one array task a point, run folders `<runs_dir>/<sweep>/<point>`."""
    folder = Path(sweep.points[0].pipeline.runtime.runs_dir) / sweep.name
    members = [MemberRun(p.name, p.pipeline, p.overrides, folder / p.name) for p in sweep.points]
    return SubmitRequest(sweep.name, sweep.config_path, members, folder, is_array=True, **how)


def seeds_request(config: Path, overrides: Sequence[str], seeds: Sequence[int], **how: bool) -> SubmitRequest:
    """Return the request of one run a seed, run folders `<runs_dir>/<name>-seeds/seed-<n>`."""
    pipelines = {seed: load_pipeline(config, [*overrides, f"seed={seed}"]) for seed in seeds}
    name = f"{pipelines[seeds[0]].name}-seeds"
    folder = Path(pipelines[seeds[0]].runtime.runs_dir) / name
    members = [
        MemberRun(f"seed-{seed}", pipeline, [*overrides, f"seed={seed}"], folder / f"seed-{seed}")
        for seed, pipeline in pipelines.items()
    ]
    return SubmitRequest(name, config, members, folder, is_array=True, **how)


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise UserError(f"--seeds {text}: give different whole numbers with commas between them, as in 1,2,3")
    return [int(part) for part in parts]
