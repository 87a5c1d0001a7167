"""The doctor's checks of the system: cores, memory, shared memory, disks, clock, limits, network, tracker."""

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from data.errors import UserError
from launch.doctor_finding import Finding, Machine, State, nearest_folder
from launch.words import size
from training.environment import available_cores, cpu_model
from training.identity import cache_root
from training.tracker import require_tracker

GB = 10**9
SHM = Path("/dev/shm")
LITTLE_SHM, TOO_LITTLE_SHM = 1 * GB, 128 * 10**6
LITTLE_DISK, TOO_LITTLE_DISK = 20 * GB, 1 * GB
FEW_FILES, TOO_FEW_FILES = 4096, 512
CLOCK_WARN_S, CLOCK_FAIL_S = 2.0, 60.0
_MEMORY = Path("/proc/meminfo")


def cores_and_memory(machine: Machine) -> Iterable[Finding]:
    """What a rank gets of the cores this process may use."""
    cores = available_cores()
    memory = next((int(line.split()[1]) * 1024 for line in _MEMORY.read_text().splitlines() if "MemTotal" in line), 0)
    yield Finding("cores", "ok", f"{cores} may be used, {size(memory)} of memory, {cpu_model()}")


def shared_memory(machine: Machine, folder: Path = SHM) -> Iterable[Finding]:
    """Ranks of one host pass tensors through /dev/shm; containers have 64 MB of it unless told otherwise."""
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    several = machine.ranks_here > 1
    fix = "start the container with --shm-size=16g (or --ipc=host), or remount it larger as root"
    state = _by_room(free, LITTLE_SHM, TOO_LITTLE_SHM if several else 0)
    yield Finding("shared memory", state, f"{size(free)} free in {folder}", fix)


def disk(machine: Machine) -> Iterable[Finding]:
    """The run folders can be written and have room."""
    folder = Path(machine.runtime.runs_dir)
    yield _writable("runs_dir", folder, "choose another runtime.runs_dir")
    there = nearest_folder(folder)
    free = shutil.disk_usage(there).free
    fix = "`posttrain clean CONFIG --yes` removes unused stages; or choose another runtime.runs_dir"
    yield Finding("disk", _by_room(free, LITTLE_DISK, TOO_LITTLE_DISK), f"{size(free)} free in {there.absolute()}", fix)


def caches(machine: Machine) -> Iterable[Finding]:
    """The caches can be written: ours, and the hub's unless there is no network to fill it from."""
    yield _writable("cache", cache_root(), "set POSTTRAIN_CACHE to a folder of yours")
    if machine.pipeline is None or not machine.pipeline.offline:
        hub = Path(machine.environment.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
        yield _writable("hub cache", hub, "set HF_HOME to a folder of yours")


def clock(machine: Machine) -> Iterable[Finding]:
    """This host's clock agrees with that of the file system the runs are on."""
    folder = nearest_folder(Path(machine.runtime.runs_dir))
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            apart = abs(os.stat(probe.name).st_mtime - time.time())
    except OSError:
        return  # told by the check of the folder
    state: State = "fail" if apart > CLOCK_FAIL_S else "warn" if apart > CLOCK_WARN_S else "ok"
    found = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC, {apart:.1f} s from the disk's"
    yield Finding("clock", state, found, "let NTP or chrony set the clock of this host and of the file server")


def open_files(machine: Machine) -> Iterable[Finding]:
    """Data loading, sockets between ranks and weights in shards all take file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = float("inf") if soft == resource.RLIM_INFINITY else soft
    state: State = "fail" if limit < TOO_FEW_FILES else "warn" if limit < FEW_FILES else "ok"
    most = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    fix = f"`ulimit -n {most}` in the shell that starts the run, or raise nofile in limits.conf"
    yield Finding("open files", state, f"limit {soft if limit != float('inf') else 'none'}, at most {most}", fix)


def tracker(machine: Machine) -> Iterable[Finding]:
    """The tracker is installed; Weights & Biases can do what `tracker_mode` asks."""
    runtime, key = machine.runtime, bool(machine.environment.get("WANDB_API_KEY"))
    offline = machine.pipeline is not None and machine.pipeline.offline
    if runtime.tracker not in ("none", "wandb"):
        try:
            require_tracker(runtime, offline, machine.environment)
            yield Finding(runtime.tracker, "ok", "installed")
        except UserError as error:
            yield Finding(runtime.tracker, "fail", "cannot be used", str(error))
        return
    if runtime.tracker == "none":
        yield Finding("wandb", "ok", f"not asked for; {'logged in' if key else 'no WANDB_API_KEY'}")
        return
    if runtime.tracker_mode == "online" and (offline or not key):
        yield Finding("wandb", "fail", "tracker_mode: online without WANDB_API_KEY", "export WANDB_API_KEY")
    elif runtime.tracker_mode == "auto" and not key and not offline:
        fix = "export WANDB_API_KEY, or `posttrain sync` the run afterwards"
        yield Finding("wandb", "warn", "no WANDB_API_KEY: metrics stay offline", fix)
    else:
        yield Finding("wandb", "ok", "logged in" if key else f"tracker_mode: {runtime.tracker_mode}")


def proxies(machine: Machine) -> Iterable[Finding]:
    """A proxy has a URL that can be read, and is not asked for this host's own addresses."""
    given = {
        name: value for name, value in machine.environment.items() if name.lower() in ("http_proxy", "https_proxy")
    }
    if not any(given.values()):
        yield Finding("proxy", "ok", "none")
        return
    broken = [name for name, value in given.items() if value and not urlsplit(value).hostname]
    hosts = ", ".join(f"{name} {urlsplit(value).hostname}" for name, value in given.items() if urlsplit(value).hostname)
    if broken:
        yield Finding("proxy", "fail", f"{', '.join(broken)} is no URL", "write http://host:port")
        return
    excepted = machine.environment.get("NO_PROXY", machine.environment.get("no_proxy", "")).split(",")
    local = {"localhost", "127.0.0.1", "*"} & {name.strip() for name in excepted}
    fix = "export NO_PROXY=localhost,127.0.0.1"
    yield Finding("proxy", "ok" if local else "warn", hosts + ("" if local else "; also for localhost"), fix)


def _writable(name: str, folder: Path, fix: str) -> Finding:
    there = nearest_folder(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=there):
            return Finding(name, "ok", f"{folder.absolute()} can be written")
    except OSError as error:
        return Finding(name, "fail", f"{there.absolute()}: {error.strerror}", fix)


def _by_room(free: int, little: int, too_little: int) -> State:
    return "fail" if free < too_little else "warn" if free < little else "ok"
