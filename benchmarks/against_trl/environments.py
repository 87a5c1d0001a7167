"""What TRL's side is started with: the environment that torchrun would give it."""

import os

from launch.rank_environment import rank_environments
from launch.rendezvous import local_rendezvous
from training.config import Runtime

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
WORLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")


def plain_environments(runtime: Runtime) -> list[dict[str, str]]:
    """An environment for each rank of `runtime`: its place in the world and its threads, nothing else of ours."""
    ours = rank_environments(runtime, True, rendezvous=local_rendezvous(runtime))
    return [{**os.environ, **QUIET, **{name: env[name] for name in WORLD if name in env}} for env in ours]
