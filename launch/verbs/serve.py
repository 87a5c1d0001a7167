"""`posttrain serve`."""

import argparse
from pathlib import Path

from launch.verbs.arguments import add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("serve", help="serve a model over HTTP with vLLM's or transformers' own server")
    parser.add_argument("path", type=Path, help="a stage's folder, a model's folder or a .gguf file")
    parser.add_argument(
        "--backend", choices=("auto", "vllm", "transformers"), default="auto", help="default: vLLM if there"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000")
    parser.add_argument("--dry-run", action="store_true", help="print the server's command and stop")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Hand this process over to the server; comes back only for --dry-run."""
    from launch.model_path import find_model
    from launch.serve import hand_over, server_command

    command = server_command(find_model(arguments.path), arguments.backend, arguments.host, arguments.port)
    hand_over(command, arguments.dry_run)
    return 0
