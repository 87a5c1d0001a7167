"""Ends a child that may not heed a TERM."""

import subprocess
from contextlib import suppress


def end_process(process: "subprocess.Popen[bytes]", within_s: float, terms: int = 1) -> None:
    """Send `terms` TERMs, waiting `within_s` seconds after each, then a KILL; returns once it has ended."""
    for _ in range(terms):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
            return
    process.kill()
    process.wait()
