"""Which files of a model folder are the model: all but the card that posttrain writes beside the weights.

The card says what evaluations found after the model was made, and people fill in its intended use. So no record lists
it, no fingerprint over a folder reads it, and it may be written anew.
"""

from pathlib import Path

CARD_NAME = "README.md"
CARD_MARK = "# Written by posttrain from the records of the run"
"""How a card's YAML block begins: a comment, so a README.md of anyone else is a file of the model like any other."""


def model_files(folder: Path, hidden: bool = True) -> list[Path]:
    """Every file of a model folder at any depth, in order of path, without our card; hidden files if asked for."""
    files = (path for path in folder.rglob("*") if path.is_file() and not is_card(path))
    return sorted(path for path in files if hidden or not path.name.startswith("."))


def is_card(path: Path) -> bool:
    """Whether this is a README.md that posttrain wrote, edited since or not."""
    if path.name != CARD_NAME:
        return False
    with path.open("rb") as source:
        return source.read(4 + len(CARD_MARK)) == f"---\n{CARD_MARK}".encode()
