"""What stands for a rank that `launch.fork_server` forks: `python -m launch.forked_rank MODULE ARGUMENTS`.

Its streams, folder and environment become the rank's. Signals go on to the rank, and it ends with the rank's exit code
or signal; where it is killed itself, the server kills the rank. It imports little: there is one for every rank.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress

VARIABLE = "POSTTRAIN_FORK_SERVER"
"""In the environment of what a rehearsal starts: the path of the server's socket."""
HEADER_BYTES = 8
"""A request is its length in so many digits, which carry stdin, stdout and stderr, and then that much JSON."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def main(argv: list[str]) -> int:
    """Have the rank forked, wait for its end, and end alike."""
    asked: list[int] = []
    pid, status = 0, ""

    def pass_on(number: int, frame: object) -> None:
        if pid:
            with suppress(ProcessLookupError):  # it has ended, and its status is on its way
                os.kill(pid, number)
        else:
            asked.append(number)

    for each in PASSED_ON:
        signal.signal(each, pass_on)
    environment = dict(os.environ)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(environment.pop(VARIABLE))
        body = json.dumps(
            {"module": argv[0], "arguments": argv[1:], "environment": environment, "folder": os.getcwd()}
        ).encode()
        socket.send_fds(connection, [b"%0*d" % (HEADER_BYTES, len(body))], [0, 1, 2])
        connection.sendall(body)
        answers = connection.makefile()
        with suppress(ConnectionResetError):
            pid = int(answers.readline() or 0)
        for number in asked if pid else []:
            pass_on(number, None)
        with suppress(ConnectionResetError):
            status = answers.readline()
        pid = 0
    if not status:
        print("the fork server ended before this rank", file=sys.stderr)
        return 1
    code = os.waitstatus_to_exitcode(int(status))
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
