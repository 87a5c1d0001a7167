"""Saving a checkpoint while training goes on: a save that fails costs that checkpoint, never the run.

Space is looked at before anything is written. A failed write is noted, not raised, so that every rank still takes part
in every collective of the save; then all ranks learn of it, what was written is removed, and the older checkpoints stay
as they are. Only `training.checkpoint.commit` makes a checkpoint exist; where that fails, the checkpoint has failed.
"""

import functools
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from training.checkpoint import MANIFEST, bytes_of_newest, committed
from training.full_disk import existing, is_failed_write
from training.world import World, barrier, gather


def first_estimate(trainer: Any) -> int:
    """Bytes that a checkpoint takes before one was written: the weights, and AdamW's two moments of what is trained.

    Of an adapter's run only what is trained is saved. DeepSpeed adds a float32 master of what is trained and writes the
    weights twice; ZeRO-3, whose masters are the weights, once if it is to gather them and else not at all.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    trained = [p for p in model.parameters() if p.requires_grad]
    saved = trained if hasattr(model, "peft_config") else list(model.parameters())
    copies, bytes_trained = 1, 8
    engine = getattr(trainer, "deepspeed", None)
    if engine is not None:
        copies, bytes_trained = 2, 12
        if engine.zero_optimization_partition_weights():
            copies = int(engine.zero_gather_16bit_weights_on_model_save())
    weights = sum(numel(p) * p.element_size() for p in saved)
    return copies * weights + bytes_trained * sum(numel(p) for p in trained)


def numel(parameter: Any) -> int:
    """Numbers in a parameter; ZeRO-3 leaves empty ones in the model."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def want_of_room(trainer: Any, checkpoint: Path) -> str | None:
    """Why there is no room for the next checkpoint; None where there is."""
    try:
        needed = bytes_of_newest(checkpoint.parent) or first_estimate(trainer)
        free = shutil.disk_usage(existing(checkpoint.parent)).free
    except OSError as error:  # a file system that is lost
        return f"{type(error).__name__}: {error}"
    if free >= needed:
        return None
    return f"it takes about {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free"


def save(trainer: Any, world: World, checkpoint: Path, write: Callable[[], None], settle: Callable[[], None]) -> bool:
    """Have `write` write `checkpoint`, on every rank, and then `settle` make it exist, on rank 0.

    Returns, on every rank, whether it exists. Tells where it does not.
    """
    wanting = gather(world, want_of_room(trainer, checkpoint) if world.is_main else None)[0]
    failures = [] if wanting is None else [wanting]
    if not failures:
        noted: list[str] = []
        with noting_failed_writes(noted, checkpoint), guarded_writers(trainer, noted, checkpoint):
            write()
        failures = [found for rank in gather(world, noted) for found in rank]
    if not failures:
        with noting_failed_writes(failures, checkpoint):
            if world.is_main:
                settle()
        failures = gather(world, failures)[0]
    if not failures:
        return True
    if world.is_main:
        _remove(checkpoint)
        words = f"{checkpoint.name} COULD NOT BE SAVED: {failures[0]}. Training goes on; {_what_is_left(checkpoint)}"
        print(words, file=sys.stderr, flush=True)
    barrier(world)
    return False


def _remove(checkpoint: Path) -> None:
    """Take a failed checkpoint away, its manifest first: a rename may have succeeded and the flush after it not."""
    with suppress(OSError):
        (checkpoint / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def _what_is_left(checkpoint: Path) -> str:
    try:
        older = committed(checkpoint.parent)
    except OSError:
        return "the older ones cannot be seen now"
    return f"{older[-1].name} is still there" if older else "there is none yet to go on from"


@contextmanager
def noting_failed_writes(noted: list[str], checkpoint: Path) -> Iterator[None]:
    """Add a write that fails in the block to `noted`; whatever is raised after one is a consequence."""
    try:
        yield
    except Exception as error:
        if not (noted or is_failed_write(error, checkpoint)):
            raise
        noted.append(f"{type(error).__name__}: {error}")


@contextmanager
def guarded_writers(trainer: Any, noted: list[str], checkpoint: Path) -> Iterator[None]:
    """Catch failed writes where they are made: collectives of the save follow, DeepSpeed 0.19's too.

    After the first one this rank writes nothing more. DeepSpeed's rank 0 writes `latest` before the last barrier: here
    it is written after it.
    """

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> None:
            if not noted:
                with noting_failed_writes(noted, checkpoint):
                    original(*args, **kwargs)

        return write

    engine = getattr(trainer, "deepspeed", None)
    writers = [(trainer, name) for name in ("save_own_state", "create_model_card", "_save")]
    if engine is not None:
        shards = engine.checkpoint_engine
        writers += [(engine, "_copy_recovery_script"), (shards, "save"), (shards, "makedirs")]
    with ExitStack() as stack:
        for owner, name in writers:
            stack.enter_context(replaced(owner, name, guarded(getattr(owner, name))))
        if engine is not None:
            later = latest_at_the_end(engine, guarded(_write_latest))
            stack.enter_context(replaced(engine, "save_checkpoint", later))
        yield


def latest_at_the_end(engine: Any, write_latest: Callable[[Path, str], None]) -> Callable[..., None]:
    """DeepSpeed's `save_checkpoint`, which names its checkpoint in `latest` only when all ranks are through."""

    @functools.wraps(engine.save_checkpoint)  # transformers looks at the signature
    def save_checkpoint(save_dir: str, *args: Any, **kwargs: Any) -> None:
        original(save_dir, *args, **{**kwargs, "save_latest": False})
        if engine.global_rank == 0:
            write_latest(Path(save_dir), f"global_step{engine.global_steps}")

    original = engine.save_checkpoint
    return save_checkpoint


def _write_latest(folder: Path, tag: str) -> None:
    (folder / "latest").write_text(tag)


@contextmanager
def replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    """Give an object another method for the block."""
    before = vars(owner).get(name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        delattr(owner, name)
        if before is not None:
            setattr(owner, name, before)
