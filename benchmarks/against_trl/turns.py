"""Trainers that take turns: of two runs side by side one makes a step while the other waits, so both meet one machine.

A trainer's callback says on a local socket that it stands before a step, and waits to be told to go. The `Conductor`
gives the word to one run at a time and takes the seconds from the word to the next time it stands there: a whole
optimizer step with its data, logging and optimizer. Waiting ranks block in a socket or a collective and use no core.
"""

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from transformers import TrainerCallback

SOCKET = "POSTTRAIN_BENCHMARK_SOCKET"
START_S = 600.0
"""How long a run may take to connect: imports, data, DPO's reference."""


REFERENCE_S: list[float] = []
"""Seconds of this process's passes over DPO's reference before the first step."""


def time_reference() -> None:
    """Time what TRL's DPO trainer computes of the reference in its constructor, ours as well as its own."""
    from trl import DPOTrainer

    original: Any = DPOTrainer._precompute_ref_logps

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = original(*args, **kwargs)
        REFERENCE_S.append(time.perf_counter() - started)
        return result

    DPOTrainer._precompute_ref_logps = timed


class Turns(TrainerCallback):
    """On every rank of a run: waits before each optimizer step until the conductor gives rank 0 the word."""

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.generate_s = 0.0
        self.logged: dict[str, Any] = {}
        self.conductor: IO[str] | None = None
        if trainer.accelerator.is_main_process:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(os.environ[SOCKET])
            self.conductor = connection.makefile("rw")
        if hasattr(trainer, "_generate"):
            trainer._generate = self._timed(trainer._generate)

    def _timed(self, generate: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return generate(*args, **kwargs)
            finally:
                self.generate_s += time.perf_counter() - started

        return timed

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Keep what the trainer logged last."""
        self.logged = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stand before the step until it is this run's turn."""
        if self.conductor is not None:
            said = {"step": state.global_step, "generate_s": self.generate_s, "logged": self.logged}
            print(json.dumps(said | {"reference_s": sum(REFERENCE_S)}), file=self.conductor, flush=True)
            self.conductor.readline()
        self.trainer.accelerator.wait_for_everyone()


@dataclass
class Side:
    """One run: its processes, and what it said at its last stop."""

    name: str
    processes: list[subprocess.Popen[bytes]]
    connection: socket.socket
    said: dict[str, Any] = field(default_factory=dict)

    def wait(self, patience_s: float = 1800.0) -> None:
        """Wait until the run stands before its next step; raises RuntimeError where a process ends first."""
        wait_for(self.connection, self.name, self.processes, patience_s)
        line = b""
        while not line.endswith(b"\n"):
            part = self.connection.recv(1 << 16)
            if not part:
                raise RuntimeError(f"{self.name}: the run has ended")
            line += part
        self.said = json.loads(line)

    def step(self) -> dict[str, Any]:
        """Let the run make one step; returns its seconds, those of generation on rank 0, and what it logged."""
        before = self.said
        started = time.perf_counter()
        self.connection.sendall(b"go\n")
        self.wait()
        seconds = time.perf_counter() - started
        generate_s = self.said["generate_s"] - before["generate_s"]
        tokens = self.said["logged"].get("num_tokens", 0.0) - before["logged"].get("num_tokens", 0.0)
        return {"seconds": seconds, "generate_s": generate_s, "num_tokens": tokens, "logged": self.said["logged"]}

    def peak_memory_gb(self) -> float:
        """Peak resident memory of all ranks in GB of 1e9 bytes (VmHWM; pages that ranks share count for each)."""
        lines = [Path(f"/proc/{process.pid}/status").read_text().splitlines() for process in self.processes]
        kib = [int(line.split()[1]) for status in lines for line in status if line.startswith("VmHWM")]
        return sum(kib) * 1024 / 1e9

    def end(self) -> None:
        """Kill the run: what it trained is not wanted."""
        kill(self.processes)
        self.connection.close()


def wait_for(heard: socket.socket, name: str, processes: Sequence[subprocess.Popen[bytes]], patience_s: float) -> None:
    """Wait until a socket has something to read; raises RuntimeError where a process ends first, or too late."""
    deadline = time.monotonic() + patience_s
    while not select.select([heard], [], [], 0.2)[0]:
        ended = [process.poll() for process in processes]
        if any(code is not None for code in ended) or time.monotonic() > deadline:
            raise RuntimeError(f"{name}: no step came; exit codes {ended}; its ranks' logs tell more")


def kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes and all that they started."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Conductor:
    """Starts runs whose rank 0 reports on a socket under `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.sides: list[Side] = []

    def start(self, name: str, command: Sequence[str], environments: Sequence[dict[str, str]]) -> Side:
        """Start one process for each environment and wait until the run stands before its first step."""
        address = str(self.folder / f"{name}.socket")
        Path(address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            processes: list[subprocess.Popen[bytes]] = []
            for rank, environment in enumerate(environments):
                with (self.folder / f"{name}.rank{rank}.log").open("wb") as log:
                    processes.append(
                        subprocess.Popen(
                            command,
                            env={**environment, SOCKET: address},
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                    )
            try:
                wait_for(listener, name, processes, START_S)
                connection, _ = listener.accept()
            except BaseException:  # a rank has ended, or Ctrl-C
                kill(processes)
                raise
            side = Side(name, processes, connection)
        self.sides.append(side)
        side.wait()
        return side

    def end(self) -> None:
        """End every run started."""
        for side in self.sides:
            side.end()
        self.sides = []
