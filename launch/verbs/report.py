"""`posttrain report`."""

import argparse

from launch.verbs.arguments import add_debug, add_run


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("report", help="write report.html of a run anew and print its table")
    add_run(parser)
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the table and write the page."""
    from launch.find_run import find_run
    from training.report import write_report
    from training.summary import print_table

    run_dir = find_run(arguments.run).path
    print_table(run_dir)
    print(f"report: {write_report(run_dir)}")
    return 0
