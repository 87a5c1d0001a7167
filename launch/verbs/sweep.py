"""`posttrain sweep`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("sweep", help="run the points of a sweep file; what they share is made once")
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="the sweep's YAML file")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key.path=value", help="replace values of every point"
    )
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="points to run at once (default: 1)")
    parser.add_argument("--past-gates", action="store_true", help="go on when a gate is not met")
    parser.add_argument("--slurm", action="store_true", help="submit the points as a Slurm array")
    parser.add_argument("--dry-run", action="store_true", help="with --slurm: only write the batch scripts")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Run the sweep; returns the exit code of its points together."""
    from launch.sweep import SweepRequest, run_sweep

    request = SweepRequest(
        arguments.sweep,
        arguments.overrides,
        arguments.parallel,
        arguments.past_gates,
        arguments.slurm,
        arguments.dry_run,
    )
    return run_sweep(request)
