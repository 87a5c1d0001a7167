"""What tests have a fork server run: says who it is, or waits for a signal."""

import json
import os
import signal
import sys
import time


def tell(number: int, frame: object) -> None:
    """End with a code that no default action gives."""
    print("heard", signal.Signals(number).name, flush=True)
    sys.exit(75)


if __name__ == "__main__":
    facts = {"arguments": sys.argv[1:], "name": os.environ.get("NAME"), "folder": os.getcwd(), "pid": os.getpid()}
    if "wait" in sys.argv:
        signal.signal(signal.SIGUSR1, tell)
        print(json.dumps(facts), flush=True)
        time.sleep(60)
    print(json.dumps(facts))
    sys.exit(7)
