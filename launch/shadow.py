"""The start-up check that `training`, `data` and `launch` are ours: other packages may have such common names."""

import importlib.util
from pathlib import Path

IMPORT_NAMES = ("training", "data", "launch")


def intruders(root: Path) -> list[str]:
    """Return one sentence for each import name that does not lead to `root`, the folder that holds our packages."""
    found = []
    for name in IMPORT_NAMES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
        expected = root / name / "__init__.py"
        if not any(Path(place).resolve() == expected.resolve() for place in places):
            where = " and ".join(places) or "nowhere"
            found.append(f"`{name}` is imported from {where}, not from {expected.parent}")
    return found


def shadow_message(root: Path | None = None) -> str | None:
    """Return what to tell the user if an import name is shadowed, else None."""
    found = intruders(root or Path(__file__).resolve().parent.parent)
    if not found:
        return None
    return (
        "posttrain: another package hides ours: " + "; ".join(found) + ". Uninstall or rename the intruder, or run "
        "`posttrain` from its own environment (make install) and from another folder"
    )
