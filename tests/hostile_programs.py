"""Programs that a model might write to harm the machine it is trained on, or to be paid for nothing: `tests/hostile/`.

One file a family: a program stands behind a line `=== what it tries`. Words in @...@ are filled in here (@CALLS@ and
@SHOW@, pieces that many share) and by `tests/hostile_harness.py`: @FILE@ must stay as it is, @SECRET@ must not be read,
@OUTSIDE@ is their folder, @PORT@, @SOCKET@ and @ABSTRACT@ are listened to, @VICTIM@ is a process that must live on,
@TRAINER@ the one that trains. What a program finds out it prints, and "changed", "opened" and the like when it got
through. Where success would hurt a tester's machine they only ask whether they may (kill with signal 0).
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("hostile")

CALLS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return libc.syscall(ctypes.c_long(number), *words)
X86 = os.uname().machine == "x86_64"
"""
SHOW = """
def show(path):
    try:
        with open(path, "rb") as file:
            print(file.read(4096))
    except OSError as error:
        print(type(error).__name__)
"""


@dataclass(frozen=True)
class Hostile:
    """One program: its family, what it tries, in words of the report, and its source."""

    family: str
    tries: str
    source: str


def read_family(path: Path) -> list[Hostile]:
    """Return the programs of one file; what stands before the first is a remark."""
    programs = []
    for part in ("\n" + path.read_text(encoding="utf-8")).split("\n=== ")[1:]:
        tries, _, source = part.partition("\n")
        source = source.replace("@CALLS@", CALLS).replace("@SHOW@", SHOW)
        programs.append(Hostile(path.stem.replace("_", " "), tries.strip(), source.strip() + "\n"))
    return programs


PROGRAMS = [each for path in sorted(FOLDER.glob("*.txt")) for each in read_family(path)]
