"""Token sequences in a shape that people can read: each token's text, whether it is trained, cut off or padding.

Scripts of many bytes a letter are where this goes wrong: a token may hold a third of a character. Such tokens are shown
together, as the one piece of text they make, with all their ids.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data.doctor.sequences import TokenSequence

CONTEXT, TRAINED, CUT, PADDING = "context", "trained", "cut", "padding"
STATES = {
    CONTEXT: "read, no loss",
    TRAINED: "has a label: the model learns to write it",
    CUT: "beyond the limit: the trainer never sees it",
    PADDING: "fills the row up to the longest one shown, as in a batch of these rows",
}
_REPLACEMENT = "\ufffd"
_LONGEST_CHARACTER = 8  # tokens; no character has more bytes than four, a joined sequence may have a few more

Decode = Callable[[list[int]], str]


@dataclass(frozen=True)
class Piece:
    """One token, or the few that make one character: their text, ids and state; `special` for control tokens.

    Padding is one piece without ids whose text is the number of tokens.
    """

    text: str
    ids: tuple[int, ...]
    state: str
    special: bool = False


def pieces(sequence: TokenSequence, decode: Decode, special_ids: frozenset[int], width: int = 0) -> list[Piece]:
    """Return the pieces of a sequence, padded to `width` kept tokens; `decode` must keep special tokens and spaces."""
    states = _states(sequence)
    made: list[Piece] = []
    waiting: list[int] = []
    before: list[int] = []
    for place, token in enumerate(sequence.ids):
        waiting.append(token)
        text = _text(before, waiting, decode)
        ends = place + 1 == len(sequence) or states[place + 1] != states[place]
        incomplete = text.endswith(_REPLACEMENT) and len(waiting) < _LONGEST_CHARACTER
        if incomplete and not ends:
            continue
        special = len(waiting) == 1 and token in special_ids
        made.append(Piece(text, tuple(waiting), states[place], special))
        before, waiting = waiting, []
    return made + _padding(width - len(sequence.kept))


def lines(shown: list[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces line by line, each with the piece whose text ends it; a line has one direction of writing."""
    line: list[Piece] = []
    for piece in shown:
        line.append(piece)
        if "\n" in piece.text:
            yield line
            line = []
    if line:
        yield line


def _states(sequence: TokenSequence) -> list[str]:
    kept = set(range(len(sequence))[sequence.window])
    return [
        CUT if place not in kept else TRAINED if trained else CONTEXT for place, trained in enumerate(sequence.trained)
    ]


def _text(before: list[int], ids: list[int], decode: Decode) -> str:
    """The text that `ids` add: tokenizers that write a space in front of words drop it at a text's beginning."""
    return decode(before + ids)[len(decode(before)) :] if before else decode(ids)


def _padding(missing: int) -> list[Piece]:
    return [Piece(f"{missing}", (), PADDING)] if missing > 0 else []
