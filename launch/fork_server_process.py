"""The server of `launch.fork_server`: `python -m launch.fork_server_process SOCKET OWNER`.

Imports what stages import, then forks a process for every request and tells the asker how it ended. It computes
nothing and starts no thread: a fork has only the thread that forked.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from launch.forked_rank import HEADER_BYTES
from training.die_with_parent import die_with

LIBRARIES = ("deepspeed", "datasets", "transformers.models.llama.modeling_llama", "torch._dynamo")
"""What ranks import late, beside the modules of the stages."""


@dataclass(frozen=True)
class Request:
    """A module to run as a process of its own would: `python -m module arguments` in `folder`."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str


def main(argv: list[str]) -> NoReturn:
    """Serve until killed; in a forked process, run what was asked for and never return."""
    path, owner = argv
    die_with(int(owner))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        preload()
        request = Server(listener).serve()
    if "torch" in sys.modules:  # which read the server's own when it was loaded
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    sys.argv = [request.module, *request.arguments]
    sys.modules.pop(request.module, None)
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = exit_code(error)
    leave(code)


def exit_code(error: SystemExit) -> int:
    """The exit code that the interpreter would give; a text is printed and is 1."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def leave(code: int) -> NoReturn:
    """End as the interpreter does, but for taking its objects apart: that copies every page shared with the server.

    Threads are waited for and exit functions called, as `multiprocessing` does for its forks and by the same
    private names: no public one waits for the workers of concurrent.futures too.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # typeshed leaves private names out
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def preload() -> None:
    """Import what the stages of every kind import, and make what their libraries make once a process."""
    from data.without_compiler import import_reasoning_gym
    from training.config import TRAINING_KINDS
    from training.environment import package_versions
    from training.run_stage import quiet_libraries
    from training.stages import STAGES

    quiet_libraries()
    for name in dict.fromkeys([*STAGES.values(), *(f"training.{kind}" for kind in TRAINING_KINDS), *LIBRARIES]):
        importlib.import_module(name)
    import_reasoning_gym()
    package_versions()
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")  # compiles a thousand patterns and keeps them
    remember_the_cpu()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that it marks


def remember_the_cpu() -> None:
    """Ask py-cpuinfo once: it starts an interpreter each time, and every rank under ZeRO has DeepSpeed ask twice."""
    import cpuinfo

    try:
        found = cpuinfo.get_cpu_info()
    except Exception:  # all it raises of a processor that it does not know; whoever needs it asks again
        return
    cpuinfo.get_cpu_info = lambda: dict(found)


class Server:
    """Forks on request; one connection lives as long as the process that it asked for."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._children: dict[socket.socket, tuple[int, int]] = {}
        """By connection: the child's pid and the descriptor that is readable once it has ended."""

    def serve(self) -> Request:
        """Answer requests for ever; returns in the forked process alone."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    request = self._accept()
                    if request is not None:
                        return request
                elif key.data is None:
                    self._hung_up(key.fileobj)
                else:
                    self._ended(key.data)

    def _accept(self) -> Request | None:
        connection, _ = self._listener.accept()
        descriptors: list[int] = []
        try:
            header, descriptors, _, _ = socket.recv_fds(connection, HEADER_BYTES, 3)
            body = b""
            while len(body) < int(header) and (part := connection.recv(int(header) - len(body))):
                body += part
            request = Request(**json.loads(body))
        except (OSError, ValueError):  # it was killed while it asked
            connection.close()
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._forget(connection)
            become(request, descriptors, server)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        ended = os.pidfd_open(pid)
        self._children[connection] = (pid, ended)
        self._selector.register(ended, selectors.EVENT_READ, connection)
        self._selector.register(connection, selectors.EVENT_READ)
        with suppress(BrokenPipeError, ConnectionResetError):  # killed meanwhile: `_hung_up` hears of it
            connection.sendall(f"{pid}\n".encode())
        return None

    def _forget(self, connection: socket.socket) -> None:
        """In the child: close what is the server's, or nobody would see an end while this process lives."""
        self._selector.close()
        self._listener.close()
        connection.close()
        for other, (_, ended) in self._children.items():
            other.close()
            os.close(ended)

    def _hung_up(self, connection: Any) -> None:
        """The asker was killed: so is what it asked for."""
        if connection in self._children:
            self._selector.unregister(connection)
            _kill_group(self._children[connection][0])

    def _ended(self, connection: socket.socket) -> None:
        """Kill what the child left in its process group, which bears its number until it is waited for."""
        pid, ended = self._children.pop(connection)
        _kill_group(pid)
        _, status = os.waitpid(pid, 0)
        self._selector.unregister(ended)
        os.close(ended)
        with suppress(KeyError):  # it hung up before
            self._selector.unregister(connection)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(f"{status}\n".encode())
        connection.close()


def become(request: Request, descriptors: list[int], server: int) -> None:
    """Make this fork the process that was asked for: session, streams, folder, environment."""
    os.setsid()
    die_with(server)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # not yet a session of its own
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
