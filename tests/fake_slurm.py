"""Stand-ins for Slurm's commands in a folder of their own: sbatch counts jobs, squeue shows what a file says."""

import json
import os
import stat
from pathlib import Path

_PROGRAM = """\
#!/bin/bash
cd {folder}
printf '%s\\0' "$(basename "$0")" "$@" >> calls; echo >> calls
{body}
"""
_BODIES = {
    "sbatch": """\
[ -e refuse-from ] && [ "$(cat count 2>/dev/null || echo 0)" -ge "$(cat refuse-from)" ] && {
    echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1; }
n=$(( $(cat count 2>/dev/null || echo 0) + 1 )); echo "$n" > count; echo "$n;fake" """,
    "squeue": 'for a in "$@"; do [ "$a" = --format=%T ] && { cat state; exit; }; done; cat queue 2>/dev/null; true',
    "sinfo": "cat partitions",
    "scancel": "true",
    "scontrol": "true",
}
PARTITIONS = "main*|up|2|8|infinite|(null)\ngpu|up|4|64|2-00:00:00|gpu:h100:8(S:0-1)\ndark|down|9|64|infinite|(null)\n"


class FakeSlurm:
    """The stand-ins; put `path` first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        for name, body in _BODIES.items():
            program = self.path / name
            program.write_text(_PROGRAM.format(folder=json.dumps(str(folder)), body=body))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (folder / "partitions").write_text(PARTITIONS)
        (folder / "state").write_text("RUNNING\n")

    @property
    def search_path(self) -> str:
        """PATH with the stand-ins first."""
        return f"{self.path}{os.pathsep}{os.environ['PATH']}"

    def calls(self, program: str) -> list[list[str]]:
        """The arguments of every call of one program so far."""
        path = self.folder / "calls"
        lines = path.read_text().split("\0\n") if path.exists() else []
        return [words[1:] for line in lines if (words := line.split("\0"))[0] == program]

    def show(self, *jobs: tuple[str, str, str]) -> None:
        """Let squeue list jobs of (id, state, name)."""
        (self.folder / "queue").write_text("".join(f"{job}|{state}|None|1:00|n1|{name}\n" for job, state, name in jobs))
