"""`posttrain clean`."""

import argparse

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("clean", help="list stage folders that CONFIG does not use; --yes removes them")
    add_config(parser)
    parser.add_argument("--yes", action="store_true", help="remove them")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print what is, or would be, removed."""
    from launch.clean import clean

    print(clean(arguments.config, arguments.overrides, arguments.run_dir, remove=arguments.yes))
    return 0
