"""The local queue of a sweep: which point may start, its `posttrain run` as a child, and what became of each."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launch.rank_environment import runner_environment
from launch.ranks import ended_with_us
from launch.run import say
from launch.signals import SignalInbox
from launch.sweep_devices import gpu_share, threads_share, visible_gpus
from launch.sweep_folder import PlannedPoint, SweepFolder, bring_in
from launch.sweep_table import sweep_content
from training.progress import duration

POLL_S = 0.5
STATES = {0: "done", 2: "refused", 3: "gate not met", 4: "stopped", 75: "preempted", 130: "interrupted"}


@dataclass
class Running:
    """A point's runner, the slot whose share of the machine it has, and when it began."""

    planned: PlannedPoint
    process: "subprocess.Popen[bytes]"
    slot: int
    started: float


class PointQueue:
    """Runs points; `codes` has the exit code of each that was run here, by index."""

    def __init__(self, folder: SweepFolder, points: list[PlannedPoint], parallel: int, past_gates: bool) -> None:
        self.folder, self.points, self.parallel, self.past_gates = folder, points, parallel, past_gates
        self.codes: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        self.shared: dict[int, dict[str, str]] = {point.point.index: {} for point in points}
        self.running: list[Running] = []
        self.gpus = visible_gpus()

    def run(self) -> None:
        """Run every point that is not done; TERM, USR1 and INT reach the runners, and no other point starts."""
        waiting = [point for point in self.points if not point.plan.done]
        with SignalInbox() as inbox:
            while waiting or self.running:
                for number in inbox.take():
                    waiting = []
                    for running in self.running:
                        running.process.send_signal(number)
                if len(self.running) < self.parallel:
                    ready = next(
                        (point for point in waiting if self.may_start(point, [each.planned for each in self.running])),
                        None,
                    )
                    if ready is not None:
                        waiting.remove(ready)
                        self._start(ready)
                        continue
                time.sleep(POLL_S)
                self._collect()

    def may_start(self, point: PlannedPoint, running: Sequence[PlannedPoint] = ()) -> bool:
        """Not while another one is making a stage that this one needs; what is made is brought in."""
        self.shared[point.point.index] |= bring_in(point, self.points, self.folder.sweep.config_path)
        for other in running:
            other.refresh()
        return not any(point.missing & other.missing for other in running)

    def _start(self, planned: PlannedPoint) -> None:
        point, runtime = planned.point, planned.point.pipeline.runtime
        slot = next(number for number in range(self.parallel) if all(each.slot != number for each in self.running))
        share = gpu_share(slot, self.parallel, runtime.processes, self.gpus)
        overrides = [*point.overrides, *threads_share(self.parallel, runtime.processes, runtime.threads_per_process)]
        command = [sys.executable, "-m", "launch", "run", str(self.folder.sweep.config_path), *overrides]
        command += ["--run-dir", str(planned.run_dir), *(["--past-gates"] if self.past_gates else [])]
        log_path = self.folder.log_path(point)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**runner_environment(offline=False), **share},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ended_with_us(signal.SIGTERM),
            )
        brought = self.shared[point.index]
        given = f"; not made again: {', '.join(brought)}" if brought else ""
        say(f"[{point.index}] {point.name} starts{given}")
        self.running.append(Running(planned, process, slot, time.monotonic()))
        self.write()

    def _collect(self) -> None:
        for running in [each for each in self.running if each.process.poll() is not None]:
            self.running.remove(running)
            index, code = running.planned.point.index, running.process.returncode
            self.codes[index] = code
            self.seconds[index] = round(time.monotonic() - running.started, 1)
            running.planned.refresh()
            log = "" if code == 0 else f"; log: {self.folder.log_path(running.planned.point)}"
            say(
                f"[{index}] {running.planned.point.name} {self._state(running.planned)} in "
                f"{duration(self.seconds[index])}{log}"
            )
            self.write()

    def _state(self, planned: PlannedPoint) -> str:
        index = planned.point.index
        if index in self.codes:
            return STATES.get(self.codes[index], "failed")
        if any(running.planned is planned for running in self.running):
            return "running"
        return "done" if planned.plan.done else "unfinished"

    def write(self) -> dict[str, Any]:
        """Write sweep.json as things stand and return its content."""
        states = {
            planned.point.index: {
                "state": self._state(planned),
                "exit_code": self.codes.get(planned.point.index),
                "seconds": self.seconds.get(planned.point.index),
                "shared_from": self.shared[planned.point.index],
            }
            for planned in self.points
        }
        content = sweep_content(self.folder.sweep, self.folder.path, states)
        self.folder.write(content)
        return content
