"""What the cluster has, asked of sinfo before anything is submitted: a job that can never start is refused at once."""

from dataclasses import dataclass

from data.errors import UserError
from data.home import from_home
from launch.slurm.client import ask
from launch.slurm.script import Batch
from training.config.slurm import SECRETS_ELSEWHERE, Slurm
from training.config.slurm_checks import gpus_asked, gpus_named
from training.config.suggest import nearest


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one partition that are alike; `minutes` is the partition's time limit, None for no limit."""

    partition: str
    is_default: bool
    is_up: bool
    nodes: int
    cpus: int
    minutes: float | None
    gpus: int


def check_cluster(batch: Batch) -> None:
    """Refuse what this cluster cannot give: an unknown partition, more nodes, cores, GPUs or time than there are."""
    groups = read_partitions(ask("sinfo", "--noheader", "--format=%P|%a|%D|%c|%l|%G"))
    chosen = _chosen(groups, batch.slurm.partition)
    name = ",".join(dict.fromkeys(group.partition for group in chosen))
    if not any(group.is_up for group in chosen):
        raise UserError(f"runtime.slurm.partition: {name} is down; the partitions are {_names(groups)}")
    limits = [group.minutes for group in chosen]
    longest = None if None in limits else max(limit for limit in limits if limit is not None)
    asked = minutes(batch.slurm.time)
    if longest is not None and asked > longest:
        raise UserError(f"runtime.slurm.time = {batch.slurm.time}: the limit of {name} is {longest:.0f} minutes")
    for key, wanted, most in (
        ("runtime.nodes", batch.runtime.nodes, sum(group.nodes for group in chosen)),
        ("CPU cores of a node (runtime.slurm.cpus_per_task)", batch.cpus_per_node, max(g.cpus for g in chosen)),
        ("GPUs of a node (runtime.slurm)", gpus_asked(batch.slurm) or 0, max(group.gpus for group in chosen)),
    ):
        if wanted > most:
            raise UserError(f"{key} = {wanted}: the partition {name} has {most}")


def _chosen(groups: list[NodeGroup], partition: str | None) -> list[NodeGroup]:
    if partition is None:
        chosen = [group for group in groups if group.is_default]
        if not chosen:
            raise UserError(f"runtime.slurm.partition is missing, and no default; the partitions are {_names(groups)}")
        return chosen
    known = [group.partition for group in groups]
    for name in partition.split(","):
        if name not in known:
            raise UserError(
                f"runtime.slurm.partition = {name}: this cluster has no such partition{nearest(name, known)}; "
                f"the partitions are {_names(groups)}"
            )
    return [group for group in groups if group.partition in partition.split(",")]


def _names(groups: list[NodeGroup]) -> str:
    return ", ".join(dict.fromkeys(group.partition for group in groups)) or "none"


def read_partitions(listed: str) -> list[NodeGroup]:
    """Return the groups of nodes that sinfo lists as name|state|nodes|cpus|limit|resources."""
    groups = []
    for line in listed.splitlines():
        name, state, nodes, cpus, limit, resources = line.split("|", 5)
        groups.append(
            NodeGroup(
                name.rstrip("*"),
                name.endswith("*"),
                state == "up",
                int(nodes),
                int(cpus.rstrip("+")),
                None if limit in ("infinite", "n/a") else minutes(limit),
                gpus_named(resources),
            )
        )
    return groups


def minutes(text: str) -> float:
    """Return a time of Slurm's in minutes: minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, mins, seconds = [*parts, 0, 0][:3]
        return int(days) * 1440 + hours * 60 + mins + seconds / 60
    if len(parts) == 3:
        return parts[0] * 60 + parts[1] + parts[2] / 60
    return parts[0] + (parts[1] / 60 if len(parts) == 2 else 0)


def check_environment_file(slurm: Slurm) -> None:
    """Refuse a file of secrets that is not there or that others can read."""
    if slurm.environment_file is None:
        return
    path = from_home(slurm.environment_file)
    if not path.is_file():
        raise UserError(f"runtime.slurm.environment_file: there is no file {path}")
    if path.stat().st_mode & 0o077:
        raise UserError(f"runtime.slurm.environment_file: others can read {path}; chmod 600 it ({SECRETS_ELSEWHERE})")
