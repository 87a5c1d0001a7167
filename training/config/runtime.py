"""Where and how a pipeline runs. Nothing here is part of an experiment: no field enters a fingerprint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config.block import Block, Count
from training.config.place import PlaceFromHome
from training.config.slurm import Slurm
from training.config.vllm import Vllm


class MicroBatches(Block):
    """What a rank takes at once, by kind of stage: a pair is two rows, completions share their prompt."""

    pretrain: Count = Field(default=4, description="Packed rows.")
    sft: Count = Field(default=4, description="Rows.")
    dpo: Count = Field(default=4, description="Pairs.")
    grpo: Count = Field(default=4, description="Completions.")
    reward_model: Count = Field(default=4, description="Pairs.")


class Profile(Block):
    """Optimizer steps to be looked at with torch's profiler; never part of an experiment."""

    steps: list[Count] = Field(
        min_length=2,
        max_length=2,
        description="First and last optimizer step, both included.",
        json_schema_extra={"x-accepted": "[first, last], two whole numbers >= 1"},
    )
    ranks: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1, description="Ranks that are profiled.")

    @model_validator(mode="after")
    def steps_are_in_order(self) -> Profile:
        first, last = self.steps
        if last < first:
            raise ValueError(f"steps [{first}, {last}]: the last is before the first; write [{last}, {first}]")
        return self


class Runtime(Block):
    """Ranks, memory, checkpoints and tracking."""

    processes: Count = Field(default=1, description="Ranks of every stage, over all nodes.")
    nodes: Count = Field(
        default=1, description="Hosts the ranks are spread over evenly; more than one needs a Slurm job of as many."
    )
    micro_batch_size: Count | MicroBatches = Field(
        default=4,
        description="Rows, pairs or completions a rank takes at once, or one such number by kind: {sft: 4, grpo: 8}.",
    )
    micro_batch_tokens: Count | None = Field(
        default=None,
        description="sft, dpo and reward_model: compute a micro-batch in parts of at most so many tokens, padding "
        "included, so that micro_batch_size may count many short rows; null computes it at once.",
    )
    fast_paths: bool = Field(
        default=True,
        description="Compute TRL's numbers in our faster ways where they are the same up to rounding; false leaves "
        "everything to TRL ([speed.md](speed.md)).",
    )
    zero_stage: Annotated[int, Field(ge=0, le=3)] = Field(
        default=0, description="DeepSpeed ZeRO stage; 0 runs without DeepSpeed."
    )
    threads_per_process: Count | None = Field(
        default=None,
        description="CPU threads of a rank; null takes your OMP_NUM_THREADS, or divides the cores among the ranks.",
    )
    deterministic: bool = Field(
        default=False,
        description="Refuse operations that give other bits from run to run; costs speed on a GPU, nothing on a CPU "
        "([resume.md](resume.md#the-same-bits)).",
    )
    tracker: Literal["wandb", "tensorboard", "trackio", "mlflow", "none"] = Field(
        default="none",
        description="Where metrics are mirrored. wandb alone gets tables, alerts and artifacts; install the other "
        "packages yourself.",
    )
    tracker_mode: Literal["auto", "online", "offline", "disabled"] = Field(
        default="auto",
        description="auto is online with an API key and offline without one; online and offline are for wandb.",
    )
    tracker_upload_model: bool = Field(
        default=False, description="wandb: upload the files of model/; false records them by path and sha256."
    )
    verl_names: bool = Field(
        default=False, description="grpo: the tracker gets the metrics under verl's names as well."
    )
    checkpoint_every: Count | None = Field(
        default=100, description="Optimizer steps between checkpoints; null keeps none before a stage's end."
    )
    keep_checkpoints: Count = Field(default=2, description="Newest checkpoints kept while a stage runs.")
    runs_dir: PlaceFromHome = Field(
        default="runs", min_length=1, description="Folder of the run folders, relative to the working directory."
    )
    deepspeed_config: PlaceFromHome | None = Field(
        default=None, description="A DeepSpeed JSON file passed through; needs zero_stage > 0. Null writes our own."
    )
    master_port: Annotated[int, Field(ge=1024, le=65535)] | None = Field(
        default=None, description="TCP port at which the ranks meet; null takes a free one."
    )
    stall_limit: Annotated[int, Field(ge=1)] | None = Field(
        default=900,
        description="Seconds in which no rank gets on, after which the run is ended (exit 4) with every rank's stack; "
        "generating and checkpoints get four times as long, loading and saving eight times. Null never ends it.",
    )
    walltime: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Seconds `posttrain run` may take: training stops early enough to write a checkpoint, with exit "
        "code 75. Null heeds the end of the Slurm job, if there is one.",
    )
    reward_workers: Count | None = Field(
        default=None,
        description="Processes in which a rank scores completions; null divides the cores among the ranks, at most 8.",
    )
    reward_time_limit: Annotated[float, Field(gt=0)] = Field(
        default=30.0,
        description="Seconds one reward may take for one completion; beyond them its process is killed and the "
        "completion is an error.",
    )
    reward_memory_gb: Annotated[float, Field(gt=0)] = Field(
        default=4.0,
        description="Address space of a process that scores completions, in GB (1e9 bytes); what a reward cannot "
        "allocate is an error of the completion.",
    )
    vllm: Vllm | None = Field(
        default=None, description="How vLLM is reached by grpo stages with rollout: vllm; null: there are none."
    )
    log_completions: int = Field(default=8, ge=0, description="Completions in the tracker's table per log.")
    profile: Profile | None = Field(
        default=None,
        description="Write a torch profiler trace (Chrome trace, gzip) and a table of the 20 operators that took "
        "longest into each training stage's profile/, for the steps {steps: [10, 12]}; null profiles nothing.",
    )
    slurm: Slurm | None = Field(default=None, description="What `posttrain submit` asks Slurm for; null: no cluster.")

    @model_validator(mode="after")
    def wandb_settings_need_wandb(self) -> Runtime:
        asked = self.tracker_upload_model or self.tracker_mode in ("online", "offline")
        if asked and self.tracker not in ("wandb", "none"):
            key = "tracker_upload_model" if self.tracker_upload_model else f"tracker_mode {self.tracker_mode}"
            raise ValueError(f"{key} would be ignored with tracker {self.tracker}; remove it, or set tracker: wandb")
        return self

    @model_validator(mode="after")
    def a_deepspeed_file_needs_deepspeed(self) -> Runtime:
        if self.deepspeed_config is not None and self.zero_stage == 0:
            raise ValueError("deepspeed_config would be ignored with zero_stage 0; set zero_stage to 1, 2 or 3")
        return self

    @model_validator(mode="after")
    def profiled_ranks_exist(self) -> Runtime:
        beyond = [rank for rank in self.profile.ranks if rank >= self.processes] if self.profile is not None else []
        if beyond:
            raise ValueError(
                f"profile.ranks names rank {beyond[0]}, but processes is {self.processes}: ranks count from 0"
            )
        return self

    @model_validator(mode="after")
    def micro_batch_tokens_are_not_for_deepspeed(self) -> Runtime:
        if self.micro_batch_tokens is not None and self.zero_stage > 0:
            raise ValueError(
                "micro_batch_tokens gives ranks different numbers of passes, which DeepSpeed's collectives do not "
                "allow; remove it, or set zero_stage to 0"
            )
        return self

    def micro_batch(self, kind: str) -> int:
        """Rows, pairs or completions a rank takes at once in stages of this kind; 1 where nothing is trained."""
        size = self.micro_batch_size
        return size if isinstance(size, int) else int(getattr(size, kind, 1))
