"""A process that the callback prepares, and a worker of it in a session of its own, whose number is printed."""

from __future__ import annotations

import os
import time

from tests.unit.fakes.loading import load

load("callback_plugins/preload.py").CallbackModule()
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
    os.close(1)
time.sleep(60)
