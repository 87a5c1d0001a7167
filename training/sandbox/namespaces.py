"""Namespaces: a process that is alone with itself, without a network, in a file system of its own.

The new root is a small tmpfs with read-only bind mounts of what programs need to start (`readable`), five devices, an
own /proc where the machine allows one, and a writable tmpfs of limited size. Everything else of the machine's files is
not there, names included.
"""

import errno
import os
import signal
from collections.abc import Sequence

from training.sandbox.libc import mount, syscall

NEW_NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
"""User, mount, process, network, IPC, host name, cgroup."""

NOBODY = 65534
SCRATCH = "/scratch"
DEVICES = ("null", "zero", "full", "random", "urandom")
MAX_SCRATCH_FILES = 2048

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2
KEPT = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": 1024, "nodiratime": 2048}


def clone_into_namespaces() -> int:
    """Like os.fork, but the child is process 1 of new namespaces; it must wait until `map_users` was called."""
    try:
        return syscall("clone", NEW_NAMESPACES | signal.SIGCHLD, 0, 0, 0, 0)
    except OSError as error:
        reason = "the sysctl user.max_user_namespaces allows no more" if error.errno == errno.ENOSPC else error.strerror
        raise OSError(error.errno, f"no user namespaces: {reason}") from None


def map_users(pid: int) -> None:
    """Give the child its users, from outside: it becomes "nobody", which is this user, or for root really nobody."""
    if os.geteuid() == 0:
        _write(f"/proc/{pid}/uid_map", f"0 0 1\n{NOBODY} {NOBODY} 1\n")
        _write(f"/proc/{pid}/gid_map", f"0 0 1\n{NOBODY} {NOBODY} 1\n")
    else:
        _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", f"{NOBODY} {os.geteuid()} 1\n")
        _write(f"/proc/{pid}/gid_map", f"{NOBODY} {os.getegid()} 1\n")


def become_nobody() -> None:
    """Leave user 0 of the namespace, if the child is it: capabilities go, and limits by user count."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def enter_private_root(root: str, readable: Sequence[str], scratch_bytes: int) -> None:
    """Replace the file system by one built at `root`, an empty folder; afterwards the way back is gone."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=2k,mode=755")
    for path in readable:
        _show(root, path)
    os.makedirs(f"{root}/dev", exist_ok=True)
    for name in DEVICES:
        _show(root, f"/dev/{name}")
    os.symlink(SCRATCH, f"{root}/dev/shm")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    if not os.path.lexists(f"{root}/tmp"):
        os.symlink(SCRATCH, f"{root}/tmp")
    os.mkdir(root + SCRATCH)
    _mount_proc(f"{root}/proc")
    _make_read_only(root)
    options = f"size={scratch_bytes},nr_inodes={MAX_SCRATCH_FILES},mode=1777"
    mount("tmpfs", root + SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, options)
    os.chdir(root)
    syscall("pivot_root", b".", b".")
    syscall("umount2", b".", MNT_DETACH)
    os.chdir(SCRATCH)


def _show(root: str, path: str) -> None:
    """Let `path` stand at the same place in the new root: links as links, all else bound."""
    target = root + path
    if not os.path.lexists(path) or os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(path, target, "", MS_BIND | MS_REC)


def _mount_proc(target: str) -> None:
    """Mount a /proc that shows this namespace alone; some containers do not allow it, and then there is none."""
    os.mkdir(target)
    try:
        mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        os.rmdir(target)


def _make_read_only(root: str) -> None:
    """Remount everything at and below `root` read-only, keeping the flags that the kernel has locked."""
    with open("/proc/self/mountinfo") as lines:
        mounts = [line.split(" ")[4:6] for line in lines]
    for escaped, options in reversed(mounts):
        place = escaped.encode().decode("unicode_escape").encode("latin-1").decode()
        if place == root or place.startswith(root + "/"):
            flags = sum(flag for name, flag in KEPT.items() if name in options.split(","))
            if not place.startswith(f"{root}/dev/"):
                flags |= MS_NODEV
            mount("none", place, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | flags)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
