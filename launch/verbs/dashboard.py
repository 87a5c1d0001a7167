"""`posttrain dashboard`."""

import argparse

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb with what it can do."""
    parser = commands.add_parser("dashboard", help="W&B workspaces made from a pipeline: show them, or push them")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print what the workspaces hold; needs no network")
    show.add_argument("--json", action="store_true", help="what would be sent, as one JSON list")
    push = actions.add_parser("push", help="save the workspaces in the W&B project; needs a login")
    for action in (show, push):
        action.add_argument("--entity", help="the W&B user or team (default: $WANDB_ENTITY, else the login's own)")
        action.add_argument("--project", help="the W&B project (default: $WANDB_PROJECT, else posttrain)")
        add_config(action)
        add_debug(action)
        action.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Show or push one workspace for each kind of training stage in the pipeline."""
    from training.config import load_pipeline
    from training.dashboards import boards, outline

    made = boards(load_pipeline(arguments.config, arguments.overrides))
    if not made and not getattr(arguments, "json", False):
        print("no stage of this pipeline trains: there is nothing to watch")
        return 0
    if arguments.action == "show" and not arguments.json:
        print("\n\n".join(outline(board) for board in made))
        return 0
    from training.wandb_dashboard import push, where, workspaces_json

    place = where(arguments.entity, arguments.project, online=arguments.action == "push")
    if arguments.action == "show":
        print(workspaces_json(made, place))
        return 0
    for board in made:
        print(f"{board.name}: {push(board, place)}")
    return 0
