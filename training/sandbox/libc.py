"""The few calls of the C library and the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import os

from training.sandbox.syscall_numbers import number

TYPE_CHECKING = False  # as in typing, whose import every sandboxed program would wait for
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 24, 38, 22

# PyDLL keeps the interpreter lock over a call: the child of a bare clone() must find it as it was.
_LIBC = ctypes.PyDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def syscall(name: str, *arguments: Any) -> int:
    """Make a system call by name; integers are passed as long. OSError names the call."""
    wanted = number(name)
    assert wanted is not None
    return _checked(name, _LIBC.syscall(ctypes.c_long(wanted), *map(_argument, arguments)))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    words = [os.fsencode(word) for word in (source, target, kind)]
    result = _LIBC.mount(*words, ctypes.c_ulong(flags), os.fsencode(options))
    _checked(f"mount {target}", result)


def prctl(option: int, *arguments: Any) -> None:
    """prctl(2); what is not given is 0."""
    given = [*map(_argument, arguments), *[ctypes.c_ulong(0)] * 4][:4]
    _checked(f"prctl({option})", _LIBC.prctl(ctypes.c_int(option), *given))


def drop_capabilities() -> None:
    """Give up every capability, also for programs started later."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # EPERM: there are none to give up; EINVAL: past the last one
            break
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    syscall("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def _argument(value: Any) -> Any:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(what: str, result: int) -> int:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result
