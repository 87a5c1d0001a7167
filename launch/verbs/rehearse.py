"""`posttrain rehearse`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser(
        "rehearse", help="run every stage tiny on this machine, with a kill and a resume, before the real run"
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the pipeline's YAML file")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key.path=value", help="replace values of the YAML")
    parser.add_argument("--processes", type=int, default=2, help="the most ranks to start (default: 2)")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Rehearse the pipeline; returns the exit code of its run."""
    from launch.rehearse import RehearseRequest, rehearse

    request = RehearseRequest(arguments.config, arguments.overrides, arguments.processes, arguments.debug)
    return rehearse(request)
