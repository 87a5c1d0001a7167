"""`posttrain publish`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser(
        "publish", help="upload a finished model with its card and record to the Hugging Face hub"
    )
    parser.add_argument("path", type=Path, help="the folder of a finished stage that leaves a model, best of an export")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the hub repository")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    parser.add_argument("--yes", action="store_true", help="upload; without it nothing leaves this machine")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Show what would be uploaded, and upload it with --yes."""
    from launch.publish import publication, upload

    planned = publication(arguments.path, arguments.repo)
    print(planned.text)
    if not arguments.yes:
        print("nothing was uploaded; repeat with --yes to do it")
        return 0
    print(f"uploaded: {upload(planned, private=not arguments.public)}")
    return 0
