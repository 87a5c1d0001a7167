"""`posttrain status`."""

import argparse

from launch.verbs.arguments import add_debug, add_run


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("status", help="show the folders of a run, which are in use, and their results")
    add_run(parser)
    parser.add_argument("--watch", action="store_true", help="follow the run, from any machine, until Ctrl-C")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the state of a run, or of each run of an array."""
    from launch.find_run import find_runs
    from launch.status import status_text
    from launch.watch import watch

    if arguments.watch:
        return watch(find_runs(arguments.run))
    print("\n\n".join(status_text(run) for run in find_runs(arguments.run)))
    return 0
