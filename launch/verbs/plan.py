"""`posttrain plan`."""

import argparse

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser("plan", help="show the stages, what would be skipped and why, batch sizes in words")
    add_config(parser)
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    from launch.plan_text import plan_text
    from training.config import load_pipeline
    from training.plan import plan_run
    from training.run_folder import RunFolder, run_path

    pipeline = load_pipeline(arguments.config, arguments.overrides)
    folder = RunFolder(run_path(pipeline, arguments.run_dir))
    folder.check(pipeline.name)
    print(plan_text(pipeline, plan_run(pipeline, folder.path)))
    return 0
