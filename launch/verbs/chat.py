"""`posttrain chat`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launch.verbs.arguments import add_debug

if TYPE_CHECKING:
    from training.chat import Chat


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("chat", help="talk to a model: its own template, its own end of turn")
    parser.add_argument("path", type=Path, help="a stage's folder, a model's folder or a .gguf file")
    parser.add_argument("--system", help="system message; default: what the model's stage was trained with")
    parser.add_argument("--max-tokens", type=_count, default=512, help="longest answer (default 512)")
    parser.add_argument(
        "--temperature", type=_temperature, default=0.7, help="0 takes the likeliest token (default 0.7)"
    )
    parser.add_argument("--top-p", type=_probability, default=1.0, help="nucleus (default 1.0, every token)")
    parser.add_argument("--seed", type=int, default=17, help="seed of the draws (default 17)")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Answer what is typed, turn by turn, or standard input as one message where it is no terminal."""
    from data.errors import UserError
    from launch.model_path import find_model

    place = find_model(arguments.path)
    if place.record is not None and place.record["kind"] == "reward_model":
        raise UserError(f"{arguments.path} is a reward model: it scores answers and writes none")
    piped = None if sys.stdin.isatty() else piped_message()
    if piped == "":
        raise UserError("standard input is empty: pipe a message in, or start posttrain chat in a terminal")
    from training.chat import Settings, open_chat

    settings = Settings(arguments.max_tokens, arguments.temperature, arguments.top_p, arguments.seed)
    system = place.system if arguments.system is None else arguments.system
    chat = open_chat(place.folder, place.gguf_file, system, settings)
    if piped is None:
        return converse(chat)
    chat.say(piped, print_piece)
    print()
    return 0


def piped_message() -> str:
    """Standard input as one message; UserError where it is not UTF-8 text."""
    from data.errors import UserError

    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 text (byte {error.start})") from None


def converse(chat: "Chat") -> int:
    """Read turns from the terminal until its end of file; /reset forgets the conversation."""
    from data.errors import UserError

    print("type a message; /reset begins anew, Ctrl-D ends")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            print()
            return 0
        if text == "/reset":
            chat.reset()
        elif text:
            try:
                chat.say(text, print_piece)
                print()
            except UserError as error:  # too long for the model: the turns before it are kept
                print(f"{error}, with /reset")


def print_piece(piece: str) -> None:
    """Show a piece of the answer as it comes."""
    print(piece, end="", flush=True)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 up")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number") from None


def _temperature(text: str) -> float:
    if not 0 <= _number(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no temperature from 0 up")
    return _number(text)


def _probability(text: str) -> float:
    if not 0 < _number(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share above 0 and up to 1")
    return _number(text)
