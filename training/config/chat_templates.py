"""Finding a chat template by the name or path a pipeline gives: a file, or one that is shipped."""

from __future__ import annotations

from pathlib import Path

from data.home import from_home

SHIPPED_DIR = Path(__file__).parent.parent / "chat_templates"


def chat_template_path(value: str) -> Path | None:
    """Return the file of a chat template: an existing path, else the shipped template of that name, else None."""
    own = from_home(value)
    if own.is_file():
        return own
    shipped = SHIPPED_DIR / f"{value}.jinja"
    return shipped if "/" not in value and shipped.is_file() else None


def shipped_chat_templates() -> list[str]:
    """Return the names of the chat templates that come with posttrain."""
    return sorted(path.stem for path in SHIPPED_DIR.glob("*.jinja"))
