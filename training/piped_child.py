"""A child process that is spoken to in JSON lines over two pipes of its own: no port, and its end is heard at once.

Reward workers and vLLM's process are such children; what they print goes to this process's log.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any


class PipedChild:
    """One child in a session of its own; `answers` is the descriptor that its messages arrive on."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start `command JOBS ANSWERS PARENT`: the child's two descriptors and the pid of this process."""
        jobs, self.jobs = os.pipe()
        self.answers, answers = os.pipe()
        try:
            self.process = subprocess.Popen(
                [*command, str(jobs), str(answers), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(jobs, answers),
                start_new_session=True,
                env=environment,
            )
        finally:
            os.close(jobs)
            os.close(answers)

    def send(self, message: Any) -> None:
        """Write one line; BrokenPipeError where the child has died."""
        rest = memoryview(json.dumps(message).encode() + b"\n")
        while rest:
            rest = rest[os.write(self.jobs, rest) :]
