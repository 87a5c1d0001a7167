"""`posttrain run`."""

import argparse

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("run", help="run a pipeline; finished stages are skipped, interrupted ones resumed")
    add_config(parser)
    parser.add_argument("--past-gates", action="store_true", help="go on when a gate is not met")
    parser.add_argument("--stage", metavar="NAME", help="run this stage alone, as its Slurm job does")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Run the pipeline; returns the runner's exit code."""
    from launch.run import RunRequest, run
    from launch.run_alone import run_alone

    request = RunRequest(
        arguments.config,
        arguments.overrides,
        arguments.run_dir,
        arguments.past_gates,
        arguments.debug,
        arguments.stage,
    )
    return run(request) if request.stage is None else run_alone(request, request.stage)
