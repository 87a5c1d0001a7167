"""A reward worker: `python -m training.rewards.worker JOBS RESULTS PARENT`, two inherited pipes and its parent's pid.

Reads JSON lines: first what to load (import path, rewards, memory limit), then jobs of rows; writes `[row, reward,
value, error]` after each call, so that the parent knows what a worker was at when it must be killed. What rewards print
goes to the rank's log. It imports neither torch nor a trainer, dies with its parent, and does not heed the signals that
end a run: those are the parent's business, and a score must not be lost to them.
"""

import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

from data.errors import UserError
from training.die_with_parent import die_with
from training.rewards.call import RewardCall, load_calls


def main() -> int:
    """Serve until the parent closes the pipe."""
    jobs, results, parent = (int(argument) for argument in sys.argv[1:])
    for descriptor in (jobs, results):
        os.set_inheritable(descriptor, False)
    die_with(parent)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, not inherited by programs that a reward starts
    with os.fdopen(jobs, "rb") as source, os.fdopen(results, "wb", buffering=0) as sink:
        try:
            calls = set_up(json.loads(source.readline()))
        except Exception as error:  # Whatever a user's module raises while it is imported.
            words = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            send(sink, {"failed": words})
            return 1
        send(sink, {"ready": True})
        for line in source:
            work(json.loads(line), calls, sink)
    return 0


def set_up(setup: dict[str, Any]) -> list[RewardCall]:
    """Load the rewards, then limit the address space: loading is not what the limit is for."""
    sys.path[:] = setup["path"]
    calls = load_calls(setup["rewards"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = setup["memory_bytes"] if most == resource.RLIM_INFINITY else min(most, setup["memory_bytes"])
    # The soft limit alone: a reward that starts a program gives it limits of its own.
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    return calls


def work(rows: list[list[Any]], calls: list[RewardCall], sink: BinaryIO) -> None:
    """Score rows of [number, completion, prompt, columns]; a row ends with its last reward or its first error."""
    for number, completion, prompt, columns in rows:
        for place, call in enumerate(calls):
            try:
                value, error = call.score(completion, prompt, columns)
            except UserError as refusal:
                send(sink, {"failed": str(refusal)})
                return
            send(sink, [number, place, value, error])
            if error is not None:
                break


def send(sink: BinaryIO, message: Any) -> None:
    """Write one line whole; a pipe takes long ones in parts."""
    rest = memoryview(json.dumps(message).encode() + b"\n")
    while rest:
        rest = rest[sink.write(rest) :]


if __name__ == "__main__":
    sys.exit(main())
