"""The memory of `posttrain plan` in words: a line a phase, its parts by size, broken at the terminal's width."""

import textwrap
from collections.abc import Iterator

from training.estimate.estimate import StageEstimate
from training.estimate.hardware import GB
from training.estimate.memory import Memory, Phase

SMALL = 0.01
"""Parts below this share of a phase are told together; `posttrain plan --json` has each."""
_FEWEST_COLUMNS = 30


def memory_text(stages: list[StageEstimate], width: int) -> str:
    """The stages with their phases; stages with equal figures share theirs."""
    alike: dict[str, tuple[Memory, list[str]]] = {}
    for stage in stages:
        if stage.memory is not None:
            alike.setdefault(str(stage.memory), (stage.memory, []))[1].append(stage.name)
    phases = [phase for needed, _ in alike.values() for phase in needed.phases]
    names = max((len(phase.name) for phase in phases), default=0)
    digits = max((len(_gigabytes(phase.total)) for phase in phases), default=0)
    lines: list[str] = []
    for needed, stage_names in alike.values():
        lines += textwrap.wrap(shared_name(stage_names), width, subsequent_indent="  ", break_on_hyphens=False)
        for phase in needed.phases:
            mark = "*" if phase is needed.peak_phase else " "
            head = f"  {phase.name:<{names}}  {_gigabytes(phase.total):>{digits}}{mark}  "
            lines += _broken(head, ", ".join(_parts(phase)), width)
    return "\n".join(lines)


def _parts(phase: Phase) -> Iterator[str]:
    """The parts by size, the small ones as `rest`; what lies in the host's memory last."""
    by_size = sorted(phase.parts.items(), key=lambda part: -part[1])
    small = [(name, size) for name, size in by_size if size < SMALL * phase.total]
    if len(small) > 1:
        by_size = [*by_size[: -len(small)], ("rest", sum(size for _, size in small))]
    yield from (f"{name} {_gigabytes(size)}" for name, size in by_size)
    if phase.host:
        yield f"on the host {_gigabytes(phase.host)}"


def _broken(head: str, text: str, width: int) -> list[str]:
    """Text after a head, its lines one under the other; a part and its figure stay together."""
    room = max(width - len(head), _FEWEST_COLUMNS)
    pieces = text.replace(", ", ",\n").replace(" ", "\u00a0").replace("\n", " ")
    lines = textwrap.wrap(pieces, room, break_long_words=False, break_on_hyphens=False)
    indents = [head, *[" " * len(head)] * (len(lines) - 1)]
    return [(indent + line).replace("\u00a0", " ") for indent, line in zip(indents, lines, strict=True)]


def shared_name(names: list[str]) -> str:
    """ "evaluate-base, -sft, -dpo" for stages whose names begin alike."""
    first, *others = names
    prefix = first.partition("-")[0] + "-"
    return ", ".join([first, *(name.removeprefix(prefix[:-1]) if name.startswith(prefix) else name for name in others)])


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / GB:.2f}"
