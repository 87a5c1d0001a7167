"""What a prompt's draws leave behind: which become a row, and which never do."""

from types import SimpleNamespace
from typing import Any

import pytest

from training.sample import keep, summary

PAIRS = SimpleNamespace(keep="pairs", min_margin=0.5)
BEST = SimpleNamespace(keep="best", min_margin=0.5)


def prompt(**rewards: float) -> dict[str, Any]:
    """A prompt whose draws are these completions with these rewards (`_` for the empty one)."""
    draws = [
        {"completion": text.strip("_"), "reward": reward, "tokens": 3, "truncated": False}
        for text, reward in rewards.items()
    ]
    return {"prompt": "2+2?", "draws": draws}


def test_a_draw_without_a_text_is_never_in_a_row() -> None:
    """A model that ends its turn at once leaves one; every training stage would refuse the row."""
    assert keep(prompt(right=1.0, _=0.0), PAIRS) is None
    row = keep(prompt(right=1.0, wrong=0.2, _=0.0), PAIRS)
    assert row is not None
    assert row["rejected"][0]["content"] == "wrong"
    assert keep(prompt(_=1.0), BEST) is None
    assert summary([prompt(right=1.0, _=0.0)], [])["empty_completions"] == 1


@pytest.mark.parametrize(("wrong", "kept"), [(0.5, True), (0.6, False)])
def test_a_pair_needs_its_margin(wrong: float, kept: bool) -> None:
    assert (keep(prompt(right=1.0, wrong=wrong), PAIRS) is not None) == kept
