"""A stage that was rolled back, on several ranks: all of them go on with one learning rate."""

from pathlib import Path
from typing import Any

import pytest

import training.rollback
from training.interventions import INTERVENTIONS
from training.record import write_json
from training.rollback import lower_learning_rate, lowered_learning_rate
from training.world import World


@pytest.mark.parametrize("own", [None, 1e-3])
def test_every_rank_takes_the_lowered_learning_rate_of_rank_0(
    own: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other node's file system shows no rollback yet, or only the one before."""
    if own is not None:
        write_json(tmp_path / INTERVENTIONS, [{"action": "rollback", "learning_rate": own}])
    sent: list[Any] = []

    def gathered(world: World, value: Any) -> list[Any]:
        sent.append(value)
        return [5e-4, value]

    monkeypatch.setattr(training.rollback, "gather", gathered)
    world = World(rank=1, local_rank=0, size=2)
    assert lowered_learning_rate(tmp_path, world) == 5e-4
    assert sent == [own]
    assert len(lower_learning_rate(tmp_path, trainer=None, world=world)) == 1
