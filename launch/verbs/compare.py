"""`posttrain compare`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("compare", help="what differs between runs, what it did, and which phase got slower")
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders, names under runs/, CONFIGs or sweeps; the first is before"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the curves over one another")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the comparison; returns 0, whatever it says."""
    from launch.compare_command import compare

    return compare(arguments)
