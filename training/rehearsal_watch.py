"""What a rehearsal changes of the blocks that watch a stage: its random model is sick, and its probes must be small."""

from collections.abc import Iterator
from typing import Any

PROBE_ITEMS = 4
PROBE_TOKENS = 16
ALSO_IN_A_REHEARSAL = "not_finite"
"""The detector that no random model trips."""


def watching_overrides(stage: Any) -> Iterator[tuple[str, Any, str | None]]:
    """Yield (key below the stage, value, what a reader must know) for `health` and `probe`."""
    for name in sorted(stage.health.model_fields_set & stage.health.detectors.keys() - {ALSO_IN_A_REHEARSAL}):
        policy = getattr(stage.health, name).policy
        if policy != "warn":
            yield f"health.{name}", "warn", f"health.{name}: {policy} only warns, for a random model is sick"
    probe = getattr(stage, "probe", None)
    if probe is not None:
        yield "probe.every", 1, None
        yield "probe.items", min(PROBE_ITEMS, probe.items), None
        yield "probe.max_completion_length", min(PROBE_TOKENS, probe.max_completion_length), None
        if probe.patience is not None:
            yield "probe.patience", None, "probe.patience: a random model answers nothing right"
