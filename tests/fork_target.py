"""What tests have a fork server run: says who it is, or waits for a signal, or has work left at its end."""

import atexit
import json
import os
import signal
import sys
import threading
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
    if "late" in sys.argv:
        atexit.register(print, "exit function")
        threading.Thread(target=lambda: time.sleep(0.3) or print("thread")).start()
        sys.exit("why")
    print(json.dumps(facts))
    sys.exit(7)
