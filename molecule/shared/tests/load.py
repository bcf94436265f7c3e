"""Clients under load, of no make of the project's: ``load.py URL CLIENTS`` until TERM, then one line of JSON.

A connection for each request. Runs on the host by itself, with its Python and nothing else.
"""

import json
import signal
import sys
import threading
import urllib.request

over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
lock = threading.Lock()
counted = {"complete": 0, "failed": 0, "errors": []}


def client() -> None:
    """Ask until told to stop; anything but a whole answer with status 200 is a failure."""
    while not over.is_set():
        error = None
        try:
            with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
                answer.read()
                error = None if answer.status == 200 else f"HTTP {answer.status}"
        except (OSError, ValueError) as caught:
            error = repr(caught)
        with lock:
            counted["complete"] += error is None
            counted["failed"] += error is not None
            if error and len(counted["errors"]) < 5:
                counted["errors"].append(error)
        if error:
            over.wait(0.005)


threads = [threading.Thread(target=client) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(counted))
