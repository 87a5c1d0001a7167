"""`posttrain card`."""

import argparse

from launch.verbs.arguments import add_debug, add_run


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("card", help="write the model cards (README.md) of a run's models from its records")
    add_run(parser)
    parser.add_argument("--stage", help="that model only")
    parser.add_argument("--overwrite", action="store_true", help="replace cards that were edited since")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Write the cards and say where they lie; returns 2 where one that was asked for by name was left as it is."""
    from launch.find_run import find_run
    from training.exit_codes import USER_ERROR
    from training.model_card import write_cards

    cards = write_cards(find_run(arguments.run).path, arguments.stage, arguments.overwrite)
    if not cards:
        print("no model has finished yet")
    for card in cards:
        print(f"{card.stage}: {card.path}" if card.reason is None else f"{card.stage}: left as it is: {card.reason}")
    return USER_ERROR if arguments.stage is not None and cards[0].reason is not None else 0
