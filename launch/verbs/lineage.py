"""`posttrain lineage`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("lineage", help="prove where an artifact comes from, back to the base and the data")
    parser.add_argument("path", type=Path, help="a stage folder, its model/ or its record.json")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the proof; returns 1 where the chain is broken."""
    from launch.lineage import prove

    proof = prove(arguments.path)
    print(proof.text)
    return 1 if proof.problems else 0
