"""When a process started: with its pid this names one process of this boot, for pids are used again."""

from pathlib import Path


def process_birth(pid: int) -> str | None:
    """Return when a living process started (clock ticks since boot); None if there is none, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
