"""`posttrain sync`."""

import argparse

from launch.verbs.arguments import add_debug, add_run


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("sync", help="send what a run tracked offline to the wandb server")
    add_run(parser)
    parser.add_argument("--dry-run", action="store_true", help="list what would be sent")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Send it and say what was sent; returns 1 where something was not."""
    from launch.find_run import find_run
    from training.exit_codes import FAILED
    from training.wandb_sync import sync, unsent_runs

    run_dir = find_run(arguments.run).path
    if arguments.dry_run:
        waiting = unsent_runs(run_dir)
        print("\n".join([f"{len(waiting)} wandb runs to send", *map(str, waiting)]))
        return 0
    sent, left = sync(run_dir)
    if not sent and not left:
        print("nothing to send: no stage has an offline wandb run that was not sent before")
    for path in sent:
        print(f"sent: {path}")
    for path in left:
        print(f"not sent: {path}")
    return FAILED if left else 0
