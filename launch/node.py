"""The ranks of a stage on one node: `python -m launch.node CONFIG --stage NAME ...`, one task a node under srun.

`posttrain run` calls `run_node` itself for ranks of its own host, and starts this module on every node where there are
several. A node takes its number from SLURM_NODEID and the rendezvous from MASTER_ADDR and MASTER_PORT, and leaves
`logs/<stage>-<fp8>.node<N>.json`, in which the other nodes and the runner read how its ranks ended.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from launch.hang import HangDoctor
from launch.nodes import end_path
from launch.rank_environment import rank_environments, stage_command, users_threads
from launch.ranks import Patience, Rank, Watch, run_ranks
from launch.ranks_end import Halt, RanksEnd, how_it_ended, read_end, write_end
from launch.rendezvous import Rendezvous
from launch.shared_buffers import remove_buffers
from launch.slots import require_slots
from training.config import Runtime, load_pipeline
from training.exit_codes import PREEMPTED, USER_ERROR
from training.plan import PlannedStage, plan_run
from training.rank_state import close_rank_state, forget_rank_states
from training.run_folder import RunFolder, run_path
from training.walltime import end_time

LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class StageRanks:
    """A stage whose ranks are to be started: what they run, how many, and where they write."""

    command: list[str]
    runtime: Runtime
    offline: bool
    run_dir: Path
    stage: PlannedStage

    @property
    def logs(self) -> Path:
        """The folder of the logs, which all nodes see."""
        return self.run_dir / "logs"

    @property
    def label(self) -> str:
        """What the names of the stage's logs begin with."""
        return f"{self.stage.name}-{self.stage.fingerprint[:8]}"

    def log_path(self, rank: int) -> Path:
        """The log of one rank."""
        return RunFolder(self.run_dir).log_path(self.stage.name, self.stage.fingerprint, rank)


def run_node(
    ranks: StageRanks,
    node: int = 0,
    rendezvous: Rendezvous | None = None,
    inherit: Sequence[int] = (),
    end_time: float | None = None,
    look: Callable[[], None] = lambda: None,
) -> RanksEnd:
    """Start one node's ranks and wait for them; every rank's state file says afterwards how it ended.

    `look` is called ten times a second while they run.
    """
    runtime = ranks.runtime
    environments = rank_environments(runtime, ranks.offline, node=node, rendezvous=rendezvous, end_time=end_time)
    if node == 0:
        print(f"{ranks.stage.name}  {world_in_words(runtime, environments[0])}", flush=True)
    local = [int(environment.get("RANK", 0)) for environment in environments]
    watches: list[Watch] = [lambda _: look()]
    if runtime.nodes > 1:
        watches.append(OtherNodes(ranks.logs, ranks.label, node, runtime.nodes))
    forget_rank_states(ranks.stage.folder, local, runtime.processes)
    if runtime.stall_limit is not None:
        watches.append(HangDoctor(ranks.stage.folder, runtime.processes, runtime.stall_limit))
    remove_buffers(environments)
    try:
        end = run_ranks(ranks.command, environments, ranks.log_path, inherit, watches, end_time)
    finally:
        remove_buffers(environments)
    for rank, code in end.codes.items():
        outcome = "failed" if end.halt is None or end.halt.elsewhere else "stopped"
        close_rank_state(ranks.stage.folder, rank, outcome, how_it_ended(code))
    return end


def world_in_words(runtime: Runtime, environment: Mapping[str, str]) -> str:
    """Say what the ranks were given: "4 ranks on 2 nodes meet at 10.0.0.1:29500, OMP_NUM_THREADS 8"."""
    taken = runtime.threads_per_process is None and users_threads() is not None
    whose = " (from your environment; runtime.threads_per_process sets it)" if taken else ""
    count = "1 rank" if runtime.processes == 1 else f"{runtime.processes} ranks"
    nodes = f" on {runtime.nodes} nodes" if runtime.nodes > 1 else ""
    meet = f" meet at {environment['MASTER_ADDR']}:{environment['MASTER_PORT']}" if "MASTER_ADDR" in environment else ""
    return f"{count}{nodes}{meet}, OMP_NUM_THREADS {environment['OMP_NUM_THREADS']}{whose}"


class OtherNodes:
    """A watch that ends this node's ranks once those of another did not end well."""

    def __init__(self, logs: Path, label: str, node: int, nodes: int) -> None:
        self._paths = [end_path(logs, label, other) for other in range(nodes) if other != node]
        self._next_look = 0.0

    def __call__(self, ranks: Sequence[Rank]) -> Halt | None:
        """Look every two seconds."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + LOOK_EVERY_S
        codes = [end.code for path in self._paths if (end := read_end(path)) is not None and end.code != 0]
        if not codes:
            return None
        patience = Patience()
        grace_s = patience.stop_grace_s if codes == [PREEMPTED] * len(codes) else patience.grace_s
        return Halt(codes[0], "", grace_s, elsewhere=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this node's ranks, write how they ended; returns their code."""
    arguments = parse(argv)
    try:
        pipeline = load_pipeline(arguments.config, arguments.overrides)
        run_dir = run_path(pipeline, arguments.run_dir)
        stage = plan_run(pipeline, run_dir)[arguments.stage]
        command = stage_command(
            arguments.config, ["--stage", stage.name], arguments.overrides, run_dir, arguments.debug
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return USER_ERROR
    return run_this_node(StageRanks(command, pipeline.runtime, pipeline.offline, run_dir, stage))


def run_this_node(ranks: StageRanks) -> int:
    """Run the ranks of the node that srun's environment names."""
    node = int(os.environ["SLURM_NODEID"])
    rendezvous = Rendezvous(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    try:
        require_slots(ranks.runtime)
        end = run_node(ranks, node, rendezvous, end_time=end_time(None, 0.0, os.environ))
    except UserError as error:
        end = RanksEnd({}, halt=Halt(USER_ERROR, f"node {node} ({platform.node()}): {error}"))
    write_end(end_path(ranks.logs, ranks.label, node), end)
    return end.code


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, which is the stage process's own."""
    parser = argparse.ArgumentParser(prog="python -m launch.node", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY.PATH=VALUE")
    parser.add_argument("--run-dir", type=Path, default=None)
    parser.add_argument("--debug", action="store_true")
    return parser.parse_args(argv)


def node_command(stage_command: Sequence[str]) -> list[str]:
    """Turn the command of a stage process into the one that starts a node's ranks of it."""
    return ["launch.node" if word == "training.run_stage" else word for word in stage_command]


if __name__ == "__main__":
    sys.exit(main())
