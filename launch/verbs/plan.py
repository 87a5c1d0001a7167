"""`posttrain plan`."""

import argparse

from launch.verbs.arguments import add_config, add_debug


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the verb."""
    parser = commands.add_parser(
        "plan", help="show the stages, what each will do and why, batch sizes in words, memory, time and cost"
    )
    add_config(parser)
    parser.add_argument(
        "--gpu", metavar="KIND", help="plan for this kind of GPU, e.g. h100-80gb (default: this machine)"
    )
    parser.add_argument("--gpus", type=int, metavar="N", help="plan for N GPUs in all (sets runtime.processes)")
    parser.add_argument("--nodes", type=int, metavar="N", help="plan for N nodes (sets runtime.nodes)")
    parser.add_argument("--gpus-per-node", type=int, metavar="N", help="GPUs of a node (default: 8)")
    parser.add_argument("--fill", type=float, metavar="SHARE", help="mean length of rows, as a share of their limits")
    parser.add_argument("--watts", type=float, metavar="W", help="of one GPU under load (default: its board's limit)")
    parser.add_argument("--price-per-gpu-hour", type=float, metavar="PRICE", help="in any currency")
    parser.add_argument("--json", action="store_true", help="every figure as JSON")
    add_debug(parser)
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> int:
    """Print the plan; returns 2 where a stage does not fit."""
    from launch.plan import PlanRequest, plan

    request = PlanRequest(
        arguments.config,
        arguments.overrides,
        arguments.run_dir,
        arguments.gpu,
        arguments.gpus,
        arguments.nodes,
        arguments.gpus_per_node,
        arguments.fill,
        arguments.watts,
        arguments.price_per_gpu_hour,
        arguments.json,
    )
    return plan(request)
