"""Load what the end of a run needs while the hosts are busy with its beginning."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import become_loader, connection_loader, shell_loader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

DOCUMENTATION = """
name: preload
type: aggregate
short_description: Load the controller's libraries while the hosts are being probed
description:
  - SQLAlchemy and the report templates take a quarter of a second to load, and every forked worker would pay for it.
  - They are loaded once, in the controlling process, right after the first probe was sent off, so that the wait for
    the host hides the cost. So is what draws reports of service levels, which takes longer than a report, when the
    second host's turn comes. Without this plugin everything works as well, only slower.
  - It also has the workers end when the controlling process is killed, and with them what they do on the hosts.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Arms a hook when a probe is about to be sent, and does its work in the parent after the fork."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preload"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._armed = False
        self._loaded = False
        self._evaluated: set[str] = set()
        # Before it exits, the interpreter looks for garbage in everything that ends with the process anyway: 0.2 s.
        atexit.register(gc.freeze)
        os.register_at_fork(after_in_child=_end_with_parent)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if self._armed:
            return
        if task.action in ("health_probe", "watch_probe"):
            self._arm(_load_conclusion)
        elif task.action == "sla_evaluate":
            # With a single host there is no worker left to inherit the import.
            self._evaluated.add(str(host))
            if len(self._evaluated) > 1:
                self._arm(_load_charts)

    def _arm(self, load: Callable[[], None]) -> None:
        """Call ``load`` once, right after the next fork, while the host is busy."""
        self._armed = True
        os.register_at_fork(after_in_parent=lambda: self._load(load))

    def _load(self, load: Callable[[], None]) -> None:
        if self._loaded:
            return
        self._loaded = True
        load()
        gc.freeze()  # what is loaded by now is shared with the workers and never garbage


def _end_with_parent() -> None:
    """Have the kernel end a worker, with its connection, when the controlling process is killed.

    A worker has a session of its own, which signals to the controller do not reach: the host would go on working under
    its lease for a dead controller. Ansible's workers pass SIGTERM on to all they started.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _load_conclusion() -> None:
    from orquestrador_ops.runs import lifecycle as runs

    runs.preload()
    # Every worker would load these again for its host, and read their documentation for the options.
    for loader, name in ((connection_loader, "ssh"), (shell_loader, "sh"), (become_loader, "sudo")):
        loader.get(name, class_only=True)


def _load_charts() -> None:
    from orquestrador_ops.core.i18n import translator
    from orquestrador_ops.sla.report import writer

    writer.preload(translator())
