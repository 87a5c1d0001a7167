"""`posttrain doctor`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("doctor", help="check the machine, for CONFIG if given, and print fixes")
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG", help="what it must be fit for")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key.path=value", help="replace values of the YAML")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the findings; returns 2 where something fails."""
    from launch.doctor import DoctorRequest, doctor

    return doctor(DoctorRequest(arguments.config, arguments.overrides))
