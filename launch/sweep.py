"""`posttrain sweep`: every point of a sweep as a `posttrain run` of its own, one after the other or several at once.

A point waits while another one makes a stage that both need, and then takes it over. Repeating the command goes on:
finished points are skipped, others resume. A point that fails or misses a gate does not stop the others.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.errors import UserError
from launch.lock import RunLock
from launch.run import say
from launch.sweep_folder import SWEEP_NAME, PlannedPoint, SweepFolder, bring_in, waves
from launch.sweep_queue import PointQueue
from launch.sweep_table import seed_means, sweep_text
from training.config.sweep import load_sweep
from training.progress import duration

PRECEDENCE = (130, 75, 2, 1, 4, 3)
"""The exit code of a sweep is the first of these that a point left with, else 0."""


@dataclass(frozen=True)
class SweepRequest:
    """What the user asked for: `parallel` points at once here, or with `slurm` an array in Slurm's queue."""

    path: Path
    overrides: list[str] = field(default_factory=list)
    parallel: int = 1
    past_gates: bool = False
    slurm: bool = False
    dry_run: bool = False


def run_sweep(request: SweepRequest) -> int:
    """Run the points that are not done, show all, and return the exit code of the whole."""
    started = time.monotonic()
    if request.parallel < 1:
        raise UserError(f"--parallel {request.parallel}: at least one point runs at a time")
    folder = SweepFolder(load_sweep(request.path, request.overrides))
    with RunLock(folder.path):
        points = folder.plan()
        queue = PointQueue(folder, points, request.parallel, request.past_gates)
        if request.slurm:
            return _submit(request, folder, points, queue)
        say(f"sweep {folder.sweep.name}: {len(points)} points in {folder.path}, {request.parallel} at a time")
        queue.run()
        content = queue.write()
    say("\n".join(["", sweep_text(content), *seed_means(content)]))
    code = next((code for code in PRECEDENCE if code in queue.codes.values()), 0)
    then = "" if code == 0 else f" Logs: {folder.path / 'logs'}; repeat the command to go on."
    say(f"total {duration(time.monotonic() - started)}. Results: {folder.path / SWEEP_NAME}.{then}")
    return code


def _submit(request: SweepRequest, folder: SweepFolder, points: list[PlannedPoint], queue: PointQueue) -> int:
    """Submit the next round as an array; what its members share with those of later rounds is made only once."""
    from launch.slurm.requests import sweep_request
    from launch.slurm.submit import submit

    for point in points:
        bring_in(point, points, folder.sweep.config_path)
    content = queue.write()
    rounds = waves(points)
    say(sweep_text(content))
    if not rounds:
        return 0
    chosen = [points[position].point for position in rounds[0]]
    request_now = sweep_request(
        replace(folder.sweep, points=chosen), one_job=False, past_gates=request.past_gates, dry_run=request.dry_run
    )
    code = submit(request_now)
    later = sum(len(each) for each in rounds[1:])
    if later:
        say(f"{later} more points start from stages that these make: repeat the command when the jobs have ended")
    return code
