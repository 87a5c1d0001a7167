"""`posttrain data`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("data", help="examine each stage's rows as the tokens it would train on")
    add_config(parser)
    parser.add_argument("--stage", help="this stage alone")
    parser.add_argument("--rows", type=int, default=6, metavar="N", help="rows shown token by token (default: 6)")
    parser.add_argument("--sample", type=int, metavar="N", help="look at N rows, evenly spread, in place of all")
    parser.add_argument("--html", type=Path, metavar="FILE", help="where the page goes (default: <run folder>/data/)")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the findings, write the page and the flagged rows; returns 2 where a stage would not start."""
    from launch.data_command import examine_pipeline

    return examine_pipeline(arguments)
