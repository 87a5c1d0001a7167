"""`posttrain submit`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("submit", help="put a pipeline into Slurm's queue, one job a stage")
    add_config(parser)
    parser.add_argument("--dry-run", action="store_true", help="only write the batch scripts")
    parser.add_argument("--one-job", action="store_true", help="one job for all stages")
    parser.add_argument("--past-gates", action="store_true", help="go on when a gate is not met")
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--seeds", metavar="1,2,3", help="an array: one run for each seed")
    several.add_argument("--array", type=Path, metavar="SWEEP", help="an array: one run for each point of a sweep file")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Write the scripts and submit them."""
    from launch.slurm.requests import request_of
    from launch.slurm.submit import submit

    return submit(request_of(arguments))
