"""What the doctor looks at: rows as token sequences with the positions that are trained and those beyond the limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class TokenSequence:
    """One sequence before any limit: `ids`, whether each of them has a label, and the window the trainer keeps."""

    ids: Sequence[int]
    trained: Sequence[bool]
    window: slice = field(default_factory=lambda: slice(None))

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.trained), "one label for each token"

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def num_trained(self) -> int:
        """Trained tokens before the limit."""
        return sum(self.trained)

    @cached_property
    def num_trained_kept(self) -> int:
        """Trained tokens inside the limit."""
        return sum(self.trained[self.window])

    @property
    def kept(self) -> tuple[int, ...]:
        """The ids inside the limit."""
        return tuple(self.ids[self.window])


@dataclass(frozen=True)
class TokenRow:
    """One row: its number in the source and its sequences by name (`row`; `chosen` and `rejected`; `prompt`).

    `prompt_matches` tells whether the prompt as a rollout renders it, generation prompt included, is what the trained
    sequences begin with; None where nothing is trained.
    """

    number: int
    sequences: dict[str, TokenSequence]
    prompt_matches: bool | None = None


@dataclass(frozen=True)
class TokenFacts:
    """What the checks must know of a tokenizer and a stage.

    `end_ids` are the tokens at which generation stops, `is_blank` tells whether an id is whitespace alone, `limit` is
    the longest sequence in tokens (None: no limit), `room` what a prompt must leave free for its completion.
    """

    bos_id: int | None
    end_ids: frozenset[int]
    is_blank: Callable[[int], bool]
    limit: int | None = None
    room: int = 0
