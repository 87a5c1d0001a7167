"""The licence of a source, when it is known: the config's word, the hub's card, or a LICENSE file beside the rows.

What is found is carried into the record; nothing is concluded from it.
"""

from pathlib import Path

_NAMES = ("license", "licence", "copying")
_TITLES = (
    ("Apache License Version 2.0", "Apache-2.0"),
    ("MIT License", "MIT"),
    ("BSD 3-Clause", "BSD-3-Clause"),
    ("BSD 2-Clause", "BSD-2-Clause"),
    ("CC0 1.0", "CC0-1.0"),
    ("Attribution-NonCommercial-ShareAlike 4.0", "CC-BY-NC-SA-4.0"),
    ("Attribution-NonCommercial 4.0", "CC-BY-NC-4.0"),
    ("Attribution-ShareAlike 4.0", "CC-BY-SA-4.0"),
    ("Attribution-ShareAlike 3.0", "CC-BY-SA-3.0"),
    ("Attribution 4.0", "CC-BY-4.0"),
    ("GNU GENERAL PUBLIC LICENSE Version 3", "GPL-3.0"),
    ("Open Data Commons Attribution License", "ODC-By-1.0"),
    ("Open Database License", "ODbL-1.0"),
)
"""How the text of a licence begins -> its SPDX name; the more special ones first."""

_HEAD_BYTES = 2000


def licence_beside(files: list[Path], folder: Path | None = None) -> dict[str, str] | None:
    """Return {"name", "from"} of the LICENSE file in the folder of the rows (or in `folder`), None without one."""
    for place in dict.fromkeys([*([folder] if folder else []), *(file.parent for file in files)]):
        for path in sorted(place.iterdir()):
            if path.stem.lower() in _NAMES and path.suffix.lower() in ("", ".txt", ".md") and path.is_file():
                return {"name": licence_name(_head(path)), "from": path.name}
    return None


def licence_name(text: str) -> str:
    """Return the SPDX name of a licence text, or its first line where we do not know it."""
    head = " ".join(text.split()).lower()
    known = [spdx for title, spdx in _TITLES if title.lower() in head]
    lines = [line.strip("# \t") for line in text.splitlines()]
    return known[0] if known else next((line[:100] for line in lines if line), "an empty file")


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).decode("utf-8", "replace")
