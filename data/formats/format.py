"""What a format is: the columns it is known by, and how one of its rows becomes an example."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from data.formats.shape import Shape

Message = dict[str, Any]
Row = dict[str, Any]


@dataclass
class Example:
    """What a row says, as message lists: a prompt, and of the rest what its format has; or raw text, without a prompt.

    `tools` are the JSON schemas of the tools that the row declares, as JSON text.
    `surplus` is a reason why the row is not trained on although nothing is wrong with it (KTO's undesirable rows).
    """

    prompt: list[Message]
    completion: list[Message] | None = None
    chosen: list[Message] | None = None
    rejected: list[Message] | None = None
    answer: str | None = None
    text: str | None = None
    surplus: str | None = None
    tools: str | None = None


@dataclass(frozen=True)
class Format:
    """A row format: known by its columns alone, so that a name is enough to declare it.

    `needs` maps each column to the kinds of values (`data.formats.shape`) it must hold; `uses` are columns that are
    read where present. `serves` says what rows can be used for: text, sft, preference, prompt. `over` names formats
    that give way to this one although they need other columns. `doubtful` maps columns to kinds that leave it open
    whether a row is of this format: then no other one gives way. `looks` and `becomes` are one line each for the docs.
    """

    name: str
    needs: dict[str, frozenset[str]]
    serves: tuple[str, ...]
    parse: Callable[[Row], Example]
    looks: str
    becomes: str
    uses: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    doubtful: dict[str, frozenset[str]] = field(default_factory=dict)

    def fits(self, found: Shape) -> bool:
        """Tell whether a row of this shape has every column that is needed, and values of the right kind in them."""
        kinds = dict(found)
        return all(kinds.get(column) in accepted for column, accepted in self.needs.items())

    def beats(self, other: "Format", found: Shape) -> bool:
        """Tell whether this format says more about a row than `other`: it needs all of its columns and more."""
        kinds = dict(found)
        if any(kinds[column] in doubtful for column, doubtful in self.doubtful.items()):
            return False
        return other.name in self.over or set(self.needs) > set(other.needs)
