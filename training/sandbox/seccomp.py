"""The system call filter (seccomp-BPF) that every sandboxed program runs under, at every level.

It refuses sockets, new processes, signals to others, other processes' memory and settings, memory outside the address
space limit, owners and modes of files, and the kernel's own business (mounts, modules, keys, BPF, io_uring, clocks).
Refused calls fail with EPERM, so an honest program gets an exception it can name. The filter outlives exec and nothing
can take it off. Compilers work under a wider one: they start processes and make what they linked executable.
"""

import ctypes
import struct

from training.sandbox.libc import PR_SET_SECCOMP, prctl
from training.sandbox.namespaces import NEW_NAMESPACES
from training.sandbox.syscall_numbers import FIRST_UNKNOWN, audit_architecture, number

PROCESSES = "fork vfork"
OTHERS = """ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_open pidfd_getfd
    pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo setpriority ioprio_set sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler move_pages migrate_pages perf_event_open"""
NETWORK = "socket io_uring_setup io_uring_enter io_uring_register"
MEMORY = "memfd_create memfd_secret shmget shmat msgget semget mq_open"
FILES = """chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat setxattr
    lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr truncate mknod
    mknodat fanotify_init name_to_handle_at open_by_handle_at"""
MOUNTS = """mount umount2 pivot_root chroot unshare setns move_mount open_tree open_tree_attr fsopen fsconfig fsmount
    fspick mount_setattr quotactl quotactl_fd swapon swapoff"""
KERNEL = """init_module finit_module delete_module kexec_load kexec_file_load reboot bpf userfaultfd keyctl add_key
    request_key acct syslog settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname personality
    iopl ioperm modify_ldt uselib vhangup"""
REFUSED = " ".join([PROCESSES, OTHERS, NETWORK, MEMORY, FILES, MOUNTS, KERNEL]).split()
COMPILERS_MAY = frozenset({"fork", "vfork", "chmod", "fchmod", "fchmodat", "fchmodat2"})

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
CLONE_THREAD = 0x10000
PR_SET_PDEATHSIG = 1
X32_CALLS = 0x40000000

# Opcodes of classic BPF, and offsets in struct seccomp_data.
LOAD, EQUAL, AT_LEAST, HAS_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
CALL_NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16


def install(own_pid: int, threads: bool, compiling: bool = False) -> None:
    """Put this process and all it will ever exec under the filter; no_new_privs must be set.

    `own_pid` is the only process that signals may be sent to; without `threads` there is one thread. `compiling` is
    for trusted programs in a process namespace of their own: processes, signals to them, and modes of files.
    """
    instructions = filter_instructions(own_pid, threads, compiling)
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code))
    prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(program))


def filter_instructions(own_pid: int, threads: bool, compiling: bool = False) -> list[bytes]:
    """Return the filter, one struct sock_filter each."""
    program = [
        _instruction(LOAD, ARCHITECTURE),
        _instruction(EQUAL, audit_architecture(), 1, 0),
        _instruction(RETURN, KILL),
        _instruction(LOAD, CALL_NUMBER),
        *_answer(AT_LEAST, X32_CALLS, ERROR | EPERM),
        *_answer(AT_LEAST, FIRST_UNKNOWN, ERROR | ENOSYS),
    ]
    for name in REFUSED:
        call = number(name)
        if call is not None and not (compiling and name in COMPILERS_MAY):
            program += _answer(EQUAL, call, ERROR | EPERM)
    # The flags of clone3 lie in memory, where a filter cannot look; without it the C library uses clone.
    program += _answer(EQUAL, _call("clone3"), ERROR | ENOSYS)
    if compiling:
        program += _first_argument("clone", HAS_BITS, NEW_NAMESPACES, allow=False)
    elif threads:
        program += _first_argument("clone", HAS_BITS, CLONE_THREAD, allow=True)
    else:
        program += _answer(EQUAL, _call("clone"), ERROR | EPERM)
    if not compiling:
        program += _first_argument("kill", EQUAL, own_pid, allow=True)
        program += _first_argument("tgkill", EQUAL, own_pid, allow=True)
    program += _first_argument("prlimit64", EQUAL, 0, allow=True)
    program += _first_argument("prctl", EQUAL, PR_SET_PDEATHSIG, allow=False)
    return [*program, _instruction(RETURN, ALLOW)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _answer(comparison: int, value: int, answer: int) -> list[bytes]:
    """Answer calls whose number compares; others go on."""
    return [_instruction(comparison, value, 0, 1), _instruction(RETURN, answer)]


def _first_argument(name: str, comparison: int, value: int, allow: bool) -> list[bytes]:
    """Decide a call by the lower half of its first argument: allowed, or refused, where that compares."""
    compares, otherwise = (ALLOW, ERROR | EPERM) if allow else (ERROR | EPERM, ALLOW)
    return [
        _instruction(EQUAL, _call(name), 0, 4),
        _instruction(LOAD, FIRST_ARGUMENT),
        _instruction(comparison, value, 0, 1),
        _instruction(RETURN, compares),
        _instruction(RETURN, otherwise),
    ]


def _call(name: str) -> int:
    call = number(name)
    assert call is not None, name
    return call
