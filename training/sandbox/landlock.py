"""Landlock (Linux 5.13): files may be read under some folders and written under one, everything else is refused.

What it does not hide: names, sizes and dates of files (stat), and the process table. The system call filter adds what
Landlock leaves open: owners, modes, dates and truncation by path.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from training.sandbox.libc import syscall

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
SCOPES = 0b11  # abstract unix sockets, signals
PATH_BENEATH = 1
ASK_VERSION = 1
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


def version() -> int:
    """Return the Landlock version of the running kernel; OSError where it has none or none is enabled."""
    return syscall("landlock_create_ruleset", None, 0, ASK_VERSION)


def restrict(readable: Sequence[str], scratch: str) -> None:
    """Confine this process: read and execute under `readable`, all under `scratch`; no_new_privs must be set."""
    known = version()
    handled = _rights(known)
    # struct landlock_ruleset_attr: files, TCP ports (bind, connect), scopes; each kernel knows its first so many.
    attributes = struct.pack("QQQ", handled, 0b11, SCOPES)[: 8 if known < 4 else 16 if known < 6 else 24]
    ruleset = syscall("landlock_create_ruleset", ctypes.create_string_buffer(attributes), len(attributes), 0)
    for path in readable:
        _allow(ruleset, path, READ & handled)
    for path in DEVICES:
        _allow(ruleset, path, (READ | WRITE_FILE) & handled)
    _allow(ruleset, scratch, handled)
    syscall("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)


def _rights(known: int) -> int:
    """Every right that a kernel of this version can refuse: 13 at first, REFER with 2, TRUNCATE 3, IOCTL_DEV 5."""
    return (1 << (13 + (known >= 2) + (known >= 3) + (known >= 5))) - 1


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        rights &= OF_FILES
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, target))
    syscall("landlock_add_rule", ruleset, PATH_BENEATH, rule, 0)
    os.close(target)
