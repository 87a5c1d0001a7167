"""Saving a checkpoint while training goes on: a save that fails costs that checkpoint, never the run.

Space is looked at before anything is written. A failed write is noted, not raised, so that every rank still takes part
in every collective of the save; then all ranks learn of it, what was written is removed, and the older checkpoints stay
as they are. Only `training.checkpoint.commit` makes a checkpoint exist.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.checkpoint import bytes_of_newest, committed
from training.full_disk import existing, is_failed_write
from training.world import World, barrier, gather


def first_estimate(trainer: Any) -> int:
    """Bytes that a checkpoint takes before one was written: the weights, and AdamW's two moments of what is trained."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    weights = sum(numel(p) * p.element_size() for p in model.parameters())
    return weights + sum(2 * 4 * numel(p) for p in model.parameters() if p.requires_grad)


def numel(parameter: Any) -> int:
    """Numbers in a parameter; ZeRO-3 leaves empty ones in the model."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def want_of_room(trainer: Any, checkpoint: Path) -> str | None:
    """Why there is no room for the next checkpoint; None where there is."""
    needed = bytes_of_newest(checkpoint.parent) or first_estimate(trainer)
    free = shutil.disk_usage(existing(checkpoint.parent)).free
    if free >= needed:
        return None
    return f"it takes about {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free"


def save(trainer: Any, world: World, checkpoint: Path, write: Callable[[], None]) -> bool:
    """Have `write` write `checkpoint`, on every rank; returns whether all of it was written. Tells where it was not."""
    (wanting,) = {*gather(world, want_of_room(trainer, checkpoint) if world.is_main else None)} - {None} or {None}
    failures = [wanting]
    if wanting is None:
        with noting_failed_writes(trainer, checkpoint) as noted:
            write()
        failures = [found for rank in gather(world, noted) for found in rank]
    if not failures:
        return True
    if world.is_main:
        shutil.rmtree(checkpoint, ignore_errors=True)
        older = committed(checkpoint.parent)
        kept = f"{older[-1].name} is still there" if older else "there is none yet to go on from"
        words = f"{checkpoint.name} COULD NOT BE SAVED: {failures[0]}. Training goes on; {kept}"
        print(words, file=sys.stderr, flush=True)
    barrier(world)
    return False


@contextmanager
def noting_failed_writes(trainer: Any, checkpoint: Path) -> Iterator[list[str]]:
    """Note failed writes of a save in the list it gives; after the first one nothing more is written by this rank.

    Those of the trainer's weights and DeepSpeed's shards are caught where they are made, because collectives follow.
    """
    noted: list[str] = []

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> Any:
            if noted:
                return None
            try:
                return original(*args, **kwargs)
            except Exception as error:
                if not is_failed_write(error, existing(checkpoint)):
                    raise
                noted.append(f"{type(error).__name__}: {error}")

        return write

    engine = getattr(getattr(trainer, "deepspeed", None), "checkpoint_engine", None)
    writers = [(trainer, "_save"), *([(engine, "save")] if engine is not None else [])]
    originals = [getattr(owner, name) for owner, name in writers]
    try:
        for (owner, name), original in zip(writers, originals, strict=True):
            setattr(owner, name, guarded(original))
        yield noted
    except Exception as error:
        if noted or is_failed_write(error, existing(checkpoint)):
            noted.append(f"{type(error).__name__}: {error}")
        else:
            raise
    finally:
        for owner, name in writers:
            vars(owner).pop(name, None)
