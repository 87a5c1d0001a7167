"""`posttrain cancel`."""

import argparse

from launch.verbs.arguments import add_debug, add_run


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("cancel", help="take the jobs of a run out of Slurm's queue")
    add_run(parser)
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Cancel the jobs that wait or run."""
    from launch.find_run import find_runs
    from launch.slurm.queue_state import cancel

    for run in find_runs(arguments.run):
        jobs = cancel(run.path)
        for job in jobs:
            print(f"posttrain: cancelled job {job.id} {job.name}")
        if not jobs:
            print(f"posttrain: no job of {run.path} waits or runs")
    return 0
