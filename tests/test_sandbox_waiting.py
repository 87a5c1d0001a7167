"""Wall limits on a busy machine: the time that a program waits for a core is not its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.sandbox_marks import needs_sandbox
from training.rewards.code_execution import code
from training.sandbox import enter
from training.sandbox.enter import Clock, Watched, waited_s, watch

SPIN = "while True: pass"


@pytest.fixture
def processes() -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts Python programs on the first core that this process may use, and ends them."""
    started: list[subprocess.Popen[bytes]] = []
    core = min(os.sched_getaffinity(0))

    def start(source: str) -> "subprocess.Popen[bytes]":
        pinned = f"import os\nos.sched_setaffinity(0, {{{core}}})\n{source}"
        started.append(subprocess.Popen([sys.executable, "-S", "-c", pinned]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_who_shares_a_core_waits_and_who_sleeps_does_not(
    processes: Callable[[str], "subprocess.Popen[bytes]"],
) -> None:
    """Of a second, two on one core wait a second together; other work on the machine makes them wait longer."""
    pair = [processes(SPIN), processes(SPIN)]
    sleeper = processes("import time; time.sleep(60)")
    end = time.monotonic() + 10
    while sum(waited_s(each.pid) for each in pair) < 0.4:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert waited_s(sleeper.pid) < max(waited_s(each.pid) for each in pair)
    assert waited_s(2**22 + 1) == 0.0  # beyond the greatest pid of Linux


@pytest.mark.parametrize(("waited", "least"), [(0.0, 0.2), (0.3, 0.5), (60.0, 0.8)])
def test_a_deadline_is_put_off_by_the_waiting_and_by_no_more_than_the_spare_time(
    waited: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sleeper has 0.2 s and 0.6 s to spare: 0.2, 0.2 + 0.3 and 0.2 + 0.6 s."""
    monkeypatch.setattr(enter, "waited_s", lambda pid: waited)
    process = subprocess.Popen(["/bin/sleep", "60"])
    watched, began = Watched(process.pid, {}), time.monotonic()
    watch(watched, Clock(process.pid, began + 0.2, 0.6), 100)
    took = time.monotonic() - began
    process.wait()
    assert watched.stopped == "time"
    assert least <= took < least + 5


def test_the_waiting_of_a_thread_that_has_ended_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited 0.3 s, and is gone before the deadline of 0.2 s, which it puts off to 0.5 s."""
    began = time.monotonic()
    monkeypatch.setattr(enter, "LOOK_EACH_S", 0.02)
    monkeypatch.setattr(enter, "waited_s", lambda pid: 0.3 if time.monotonic() < began + 0.15 else 0.0)
    process = subprocess.Popen(["/bin/sleep", "60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    clock = Clock(process.pid, began + 0.2, 0.6)
    watch(Watched(process.pid, {os.dup(process.stdout.fileno()): "stdout"}), clock, 100)
    took = time.monotonic() - began
    process.communicate()
    assert clock.waited == 0.3
    assert 0.5 <= took < 5.5


@needs_sandbox
def test_a_sleeper_in_a_script_of_asserts_fails_when_its_own_time_is_up() -> None:
    """The asserts' sandbox has more wall time than the program's, whose end ends them: 2.4 s here, not 7.2."""
    began = time.monotonic()
    sleeper = "import time\ndef f():\n    time.sleep(60)\n    return 1\n"
    assert code([sleeper], [""], [[{"script": "assert f() == 1"}]], timeout_s=0.2) == [0.0]
    assert time.monotonic() - began < 6.5
