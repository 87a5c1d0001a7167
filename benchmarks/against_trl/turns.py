"""Trainers that take turns: of two runs side by side one makes a step while the other waits, so both meet one machine.

A trainer's callback says on a local socket that it stands before a step, and waits to be told to go. The `Conductor`
gives the word to one run at a time and takes the seconds from the word to the next time it stands there: a whole
optimizer step with its data, logging and optimizer. Waiting ranks block in a socket or a collective and use no core.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

SOCKET = "POSTTRAIN_BENCHMARK_SOCKET"


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
        self.connection: Connection | None = None
        if trainer.accelerator.is_main_process:
            self.connection = Client(os.environ[SOCKET])
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
        if self.connection is not None:
            said = {"step": state.global_step, "generate_s": self.generate_s, "logged": self.logged}
            self.connection.send(said | {"reference_s": sum(REFERENCE_S)})
            self.connection.recv()
        self.trainer.accelerator.wait_for_everyone()


@dataclass
class Side:
    """One run: its processes, and what it said at its last stop."""

    name: str
    processes: list[subprocess.Popen[bytes]]
    connection: Connection
    said: dict[str, Any] = field(default_factory=dict)

    def wait(self, patience_s: float = 1800.0) -> None:
        """Wait until the run stands before its next step; raises RuntimeError where a process ends first."""
        deadline = time.monotonic() + patience_s
        while not self.connection.poll(0.2):
            ended = [process.poll() for process in self.processes]
            if any(code is not None for code in ended) or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: no step came; exit codes {ended}")
        self.said = self.connection.recv()

    def step(self) -> dict[str, Any]:
        """Let the run make one step; returns its seconds, those of generation on rank 0, and what it logged."""
        before = self.said
        started = time.perf_counter()
        self.connection.send("go")
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
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.connection.close()


class Conductor:
    """Starts runs whose rank 0 reports on a socket under `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.sides: list[Side] = []

    def start(self, name: str, command: Sequence[str], environments: Sequence[dict[str, str]]) -> Side:
        """Start one process for each environment and wait until the run stands before its first step."""
        address = str(self.folder / f"{name}.socket")
        Path(address).unlink(missing_ok=True)
        with Listener(address) as listener:
            processes = []
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
            listener._listener._socket.settimeout(600)  # type: ignore[attr-defined]
            side = Side(name, processes, listener.accept())
        self.sides.append(side)
        side.wait()
        return side

    def end(self) -> None:
        """End every run started."""
        for side in self.sides:
            side.end()
        self.sides = []
