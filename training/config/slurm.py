"""How `posttrain submit` asks Slurm for machines. Nothing here is part of an experiment or of a secret.

Scripts are kept beside the run and read by colleagues, so a value that looks like a secret is refused: it belongs into
the shell that submits or into `environment_file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from training.config.block import Block, Count
from training.config.place import home_is_known

_TIME = r"^(\d+|\d+:\d{2}|\d+:\d{2}:\d{2}|\d+-\d{1,2}|\d+-\d{1,2}:\d{2}|\d+-\d{1,2}:\d{2}:\d{2})$"
_ONE_LINE = r"^[^\x00-\x1f\x7f]+$"
SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|(^|_)(API|ACCESS|PRIVATE|AUTH)_?KEY|_KEY$|^KEY$|(^|_)PAT$|NETRC", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"\b(hf_\w{16,}|sk-[\w-]{16,}|gh[opsu]_\w{16,}|AKIA[A-Z0-9]{16}|[0-9a-f]{40})\b|://[^/\s]+:[^/\s]+@"
)
_ASSIGNMENT = re.compile(r"(?:^|[\s;&|])([A-Za-z_]\w*)=")

Line = Annotated[str, Field(pattern=_ONE_LINE, json_schema_extra={"x-accepted": "one line of text"})]
Word = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f]+$", json_schema_extra={"x-accepted": "text without spaces"})]
VariableName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", json_schema_extra={"x-accepted": "the name of a variable"})
]
SECRETS_ELSEWHERE = (
    "export it in the shell that submits, or write it into a file of mode 0600 and name that as environment_file"
)


class Container(Block):
    """The image that ranks run in; `posttrain` itself runs outside it, on the first node."""

    image: Line = Field(description="An image file, or a name that pyxis or apptainer understands.")
    runtime: Literal["pyxis", "apptainer"] = Field(
        description="pyxis gives srun --container-image; apptainer wraps the ranks into `apptainer exec --nv`."
    )
    mounts: list[Line] = Field(
        default_factory=list,
        description="source:target pairs beside the checkout, the working directory and the run folder.",
    )
    python: Line = Field(default="python3", description="The Python of the image that has posttrain's packages.")


class Slurm(Block):
    """What a job asks for; `posttrain submit` needs this block."""

    time: Annotated[
        str,
        Field(
            pattern=_TIME,
            json_schema_extra={"x-accepted": "minutes, [hours:]minutes:seconds or days-hours[:minutes[:seconds]]"},
        ),
    ] = Field(description="Time limit of each job, as Slurm writes it; a job that needs longer requeues itself.")
    account: Word | None = Field(default=None, description="Account that is charged; null is your default.")
    partition: Word | None = Field(default=None, description="Partition, or several by commas; null is the default.")
    qos: Word | None = Field(default=None, description="Quality of service.")
    gpus_per_node: Count | None = Field(default=None, description="GPUs of each node (--gpus-per-node).")
    gres: Word | None = Field(default=None, description="Generic resources of each node instead, as in gpu:h100:8.")
    cpus_per_task: Count | None = Field(
        default=None, description="CPU cores of each node: one Slurm task a node starts all of its ranks."
    )
    mem: Word | None = Field(default=None, description='Memory of each node, as in 480G; "0" is all of it.')
    constraint: Word | None = Field(default=None, description="Features a node must have.")
    options: list[Line] = Field(
        default_factory=list, description="Further sbatch options, each as one text, as in --exclusive."
    )
    modules: list[Word] = Field(default_factory=list, description="Modules the job loads first.")
    environment: dict[VariableName, Line] = Field(
        default_factory=dict, description="Variables to export, by name; what looks like a secret is refused."
    )
    environment_file: Annotated[Line, AfterValidator(home_is_known)] | None = Field(
        default=None, description="A file of NAME=value lines of mode 0600 that the job reads: the place of secrets."
    )
    setup: list[Line] = Field(default_factory=list, description="Shell lines that run before posttrain.")
    container: Container | None = Field(default=None, description="Run the ranks in a container image.")
    signal_before_end: Annotated[int, Field(ge=10)] = Field(
        default=120, description="Seconds before the time limit at which a stage is told to checkpoint."
    )
    array_limit: Count | None = Field(
        default=None, description="Members of an array that run at once; null leaves it to Slurm."
    )
    max_requeues: Annotated[int, Field(ge=0)] = Field(
        default=50, description="Times a job that was preempted or ran out of time puts itself back into the queue."
    )

    @model_validator(mode="after")
    def gpus_are_asked_for_once(self) -> Slurm:
        if self.gpus_per_node is not None and self.gres is not None and "gpu" in self.gres:
            raise ValueError("gpus_per_node and gres both ask for GPUs; keep one")
        return self

    @field_validator("options")
    @classmethod
    def options_are_sbatch_options_of_their_own(cls, options: list[str]) -> list[str]:
        for option in options:
            if not option.startswith("-"):
                raise ValueError(f"{option} is no sbatch option; write --name=value")
            name = option.partition("=")[0].partition(" ")[0]
            if name in _OURS:
                raise ValueError(f"{name} is {_OURS[name]}; remove it here")
        return options

    @model_validator(mode="after")
    def secrets_stand_elsewhere(self) -> Slurm:
        for name in _secrets(self):
            raise ValueError(f"{name} looks like a secret, and the script is no place for one; {SECRETS_ELSEWHERE}")
        return self


_BY_POSTTRAIN = (
    "--array", "-a", "--chdir", "-D", "--dependency", "-d", "--error", "-e", "--export", "--job-name", "-J",
    "--kill-on-invalid-dep", "--no-requeue", "--ntasks", "-n", "--ntasks-per-node", "--open-mode", "--output", "-o",
    "--parsable", "--requeue", "--signal", "--wait", "-W", "--wrap",
)  # fmt: skip
_KEYS = ("account", "partition", "qos", "time", "gres", "gpus_per_node", "cpus_per_task", "mem", "constraint")
_SHORT = {"-A": "account", "-p": "partition", "-q": "qos", "-t": "time", "-c": "cpus_per_task", "-C": "constraint"}
_OURS = {
    **dict.fromkeys(_BY_POSTTRAIN, "set by posttrain"),
    **{f"--{key.replace('_', '-')}": f"the key runtime.slurm.{key}" for key in _KEYS},
    **{option: f"the key runtime.slurm.{key}" for option, key in _SHORT.items()},
    **dict.fromkeys(("--nodes", "-N"), "the key runtime.nodes"),
}
"""sbatch options that posttrain itself or another key sets, with what does."""


def _secrets(slurm: Slurm) -> Iterator[str]:
    """Yield the names of variables in the block that look like secrets, by name or by value."""
    for name, value in slurm.environment.items():
        if SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
            yield f"environment.{name}"
    for line in slurm.setup:
        named = next((name for name in _ASSIGNMENT.findall(line) if SECRET_NAME.search(name)), None)
        if named is not None or _SECRET_VALUE.search(line):
            yield f"setup: {named or 'a value'}"
