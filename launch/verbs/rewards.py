"""`posttrain rewards list` and `posttrain rewards test`."""

import argparse

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("rewards", help="list the shipped rewards, or try a pipeline's before any run")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every shipped reward, its parameters and the columns it needs")
    add_debug(listing)
    listing.set_defaults(execute=execute_list)
    trial = actions.add_parser("test", help="run the golden cases, and score completions made from the first rows")
    add_config(trial)
    trial.add_argument("--stage", help="this stage alone")
    trial.add_argument("--rows", type=int, default=8, metavar="N", help="rows to make completions from (default: 8)")
    add_debug(trial)
    trial.set_defaults(execute=execute_test)


def execute_list(arguments: argparse.Namespace) -> int:
    """Print the shipped rewards."""
    from launch.rewards_command import print_rewards

    print_rewards()
    return 0


def execute_test(arguments: argparse.Namespace) -> int:
    """Try the rewards of a pipeline; returns 2 where one cannot be trained on."""
    from launch.rewards_command import run_trial

    return run_trial(arguments)
