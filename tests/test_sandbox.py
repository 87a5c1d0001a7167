"""The sandbox's own promises: what a program finds inside, what ends it, and what is refused where it cannot be had."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.errors import UserError
from tests.sandbox_marks import needs_sandbox
from training.sandbox import levels
from training.sandbox.levels import LEVELS, check_level, require_level, why_not
from training.sandbox.runner import Limits, Place, Run, Sandbox, SandboxError, python_command, run_programs

ROOT = Path(__file__).resolve().parent.parent
LIMITS = Limits(cpu_s=5, memory_mb=256, scratch_mb=4, output_bytes=10_000)
HAD = [
    pytest.param(level, marks=pytest.mark.skipif(why_not(level) is not None, reason=f"{level}: {why_not(level)}"))
    for level in LEVELS
]


def run(level: str, source: str, stdin: str = "", limits: Limits = LIMITS) -> str:
    """The output of a program that must end well."""
    (result,) = run_programs(Place(level, limits), [Run(python_command("-c", source), stdin)], {"given.txt": "é"})
    assert result.ended_well, result
    return result.stdout


@pytest.mark.parametrize("level", HAD)
def test_program_has_its_input_its_files_and_a_folder_to_write_in(level: str) -> None:
    source = (
        "import os, sys, tempfile\nhome = os.environ['HOME']\n"
        "print(sys.stdin.read(), open('given.txt').read(), home == os.getcwd())\n"
        "with tempfile.TemporaryFile('w+') as file:\n    file.write('kept')\n    file.seek(0)\n    print(file.read())"
    )
    assert run(level, source, stdin="ünd") == "ünd é True\nkept\n"


@pytest.mark.parametrize("level", HAD)
def test_program_inherits_no_environment_and_no_descriptors(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTTRAIN_TEST_SECRET", "secret")
    readable, writable = os.pipe()
    os.set_inheritable(writable, True)
    source = (
        "import os\nopen_ones = []\nfor n in range(200):\n    try:\n        os.fstat(n)\n        open_ones.append(n)\n"
        "    except OSError:\n        pass\nprint(open_ones, sorted(os.environ))"
    )
    try:
        told = run(level, source)
    finally:
        os.close(readable)
        os.close(writable)
    assert told == "[0, 1, 2] ['HOME', 'LANG', 'PATH', 'PYTHONHASHSEED', 'TMPDIR']\n"


@pytest.mark.parametrize("level", HAD)
def test_program_has_no_capabilities_and_can_gain_none(level: str) -> None:
    source = (
        "import ctypes\ndata = (ctypes.c_uint32 * 6)()\nheader = (ctypes.c_uint32 * 2)(0x20080522, 0)\n"
        "libc = ctypes.CDLL(None)\nlibc.capget(header, data)\nprint(sum(data), libc.prctl(39, 0, 0, 0, 0))"
    )
    assert run(level, source) == "0 1\n"


def test_namespaces_hide_the_machine_and_leave_threads() -> None:
    if why_not("namespaces"):
        pytest.skip(str(why_not("namespaces")))
    threads = "import threading\nt = threading.Thread(target=print, args=('thread',))\nt.start()\nt.join()"
    assert run("namespaces", threads) == "thread\n"
    source = (
        "import os, socket\nprint(os.getpid(), sorted(os.listdir('/')), socket.if_nameindex() if False else '')\n"
        "print(os.path.exists('/etc/passwd'), os.path.exists('/home'), open('/proc/net/dev').read().count(':') "
        "if os.path.exists('/proc/net/dev') else 1)"
    )
    first, second = run("namespaces", source).splitlines()
    assert first.startswith("1 [")
    assert second == "False False 1"  # the loopback device, and it is down


@pytest.mark.parametrize("level", HAD[:2])
def test_limits_end_a_program_and_say_which(level: str) -> None:
    """Runs of one job: CPU time, wall time, output; a run that is stopped ends the job, so each has its own."""
    limits = Limits(cpu_s=1, wall_s=1.5, memory_mb=256, scratch_mb=4, output_bytes=10_000)
    cases = {
        "while True: pass": "time",
        "import time\ntime.sleep(60)": "time",
        "while True: print('x' * 100)": "output",
    }
    for source, stopped in cases.items():
        began = time.monotonic()
        results = run_programs(Place(level, limits), [Run(python_command("-c", source))] * 2, {})
        assert [result.stopped for result in results] == [stopped], source
        assert len(results[0].stdout) <= 10_001
        assert time.monotonic() - began < 5
    source = "try:\n    bytearray(10**9)\nexcept MemoryError:\n    print('memory')\n"
    source += "try:\n    open('big', 'wb').write(bytes(5 * 10**6))\nexcept OSError:\n    print('disk')"
    assert run(level, source) == "memory\ndisk\n"


def test_job_stops_at_the_first_failure_where_that_is_asked() -> None:
    level = next((level for level in LEVELS if why_not(level) is None), None)
    if level is None:
        pytest.skip("no level can be had here")
    runs = [Run(python_command("-c", f"raise SystemExit({code})")) for code in (0, 3, 0)]
    assert [each.code for each in run_programs(Place(level, LIMITS), runs, {})] == [0, 3, 0]
    assert [each.code for each in run_programs(Place(level, LIMITS), runs, {}, stop_at_failure=True)] == [0, 3]
    with pytest.raises(SandboxError, match="No such file"):
        run_programs(Place(level, LIMITS), [Run(["/no/such/program"])], {})


@pytest.mark.parametrize("level", HAD)
def test_program_dies_with_the_one_that_watches_it(level: str) -> None:
    """The watching process is killed outright: nobody is left to clean up but the kernel."""
    mark = f"86421{os.getpid()}"
    with Sandbox(Place(level, Limits(cpu_s=60)), [Run(["/bin/sleep", mark])], {}) as sandbox:
        assert _until(lambda: _running(mark) == 1)
        sandbox._process.send_signal(signal.SIGKILL)
        assert _until(lambda: _running(mark) == 0)


def test_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match=r"sandbox='docker' is not accepted; use namespaces, landlock, seccomp"):
        check_level("code", "docker")


def test_level_that_cannot_be_had_is_refused_naming_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"namespaces": "clone: Operation not permitted", "landlock": "no Landlock", "seccomp": None}
    monkeypatch.setattr(levels, "why_not", reasons.get)
    with pytest.raises(
        UserError, match=r"(?s)namespaces cannot be had.*clone: .*sandbox: seccomp \(.*FILES CAN BE READ"
    ):
        require_level("code", "namespaces")
    require_level("code", "seccomp")


def test_machine_without_user_namespaces_is_told_so_and_keeps_the_weaker_levels() -> None:
    """A real one: in a user namespace of its own, whose limit of further ones is 0."""
    code = "from training.sandbox.levels import LEVELS, why_not; print([why_not(level) for level in LEVELS])"
    inside = ["sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -c "$1"', sys.executable, code]
    command = ["unshare", "--user", "--map-root-user", *inside]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if told.returncode != 0:
        pytest.skip(f"no such machine can be made here: {told.stderr.strip()}")
    reason = "[Errno 28] no user namespaces: the sysctl user.max_user_namespaces allows no more"
    assert told.stdout.strip() == str([reason, why_not("landlock"), why_not("seccomp")])


def test_probe_that_gets_out_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level whose promise the machine breaks counts as missing: here the filter alone is to pass for Landlock."""
    if why_not("seccomp"):
        pytest.skip(str(why_not("seccomp")))
    monkeypatch.setattr(levels, "_EXPECTED", {**levels._EXPECTED, "seccomp": levels._EXPECTED["landlock"]})
    assert why_not.__wrapped__("seccomp") == "a probe inside was not held back: reading, writing"


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_levels_hold_for_a_user_without_rights(tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        pytest.skip("no Python >= 3.11 that every user can read")
    if why_not("namespaces"):
        pytest.skip(str(why_not("namespaces")))
    place = Path("/tmp") / f"posttrain-nobody-{os.getpid()}"
    for part in ("training/sandbox", "data/errors.py", "training/__init__.py", "data/__init__.py"):
        source, target = ROOT / part, place / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755)
    code = "from training.sandbox.levels import LEVELS, why_not; print([why_not(level) for level in LEVELS])"
    try:
        told = subprocess.run(
            [python, "-B", "-c", code], cwd=place, user=65534, group=65534, extra_groups=[], env={"TMPDIR": "/tmp"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        shutil.rmtree(place)
    assert told.stdout.strip() == str([why_not(level) for level in LEVELS])


def _until(condition: object, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def _running(mark: str) -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes() == f"/bin/sleep\0{mark}\0".encode()
        except OSError:
            continue
    return found


@needs_sandbox
def test_time_of_compilers_is_told_apart_from_the_program_s() -> None:
    """The program may take 1 s of CPU time; the compiler before it took 1.2 s, which is none of the program's."""
    spin = "import time\nwhile time.process_time() < 1.2:\n    pass"
    place = Place("namespaces", Limits(cpu_s=1, wall_s=60, memory_mb=256))
    (result,) = run_programs(place, [Run(python_command("-c", "pass"), before=(python_command("-c", spin),))], {})
    assert result.ended_well, result
    assert result.compile_cpu_s >= 1.2
    assert result.cpu_s < 1.0
    broken = Run(python_command("-c", "pass"), before=(python_command("-c", "raise SystemExit(3)"),))
    (result,) = run_programs(place, [broken], {})
    assert (result.code, result.stopped) == (3, None)
    assert result.compile_cpu_s > 0.0
