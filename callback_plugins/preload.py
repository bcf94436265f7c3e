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
short_description: Loads the controller's libraries while the hosts are being observed
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
        self._done = False
        self._evaluated: set[str] = set()
        # Before it exits, the interpreter looks for garbage in everything that ends with the process anyway: 0.2 s.
        atexit.register(gc.freeze)
        os.register_at_fork(after_in_child=_end_with_parent)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if self._armed:
            return
        if task.action in ("health_probe", "watch_probe"):
            self._arm(_what_concludes)
        elif task.action == "sla_evaluate":
            # Of one host nobody would inherit it.
            self._evaluated.add(str(host))
            if len(self._evaluated) > 1:
                self._arm(_what_draws)

    def _arm(self, load: Callable[[], None]) -> None:
        """Have it loaded right after the next fork: while the host is busy, and once."""
        self._armed = True
        os.register_at_fork(after_in_parent=lambda: self._load(load))

    def _load(self, load: Callable[[], None]) -> None:
        if self._done:
            return
        self._done = True
        load()
        gc.freeze()  # what is loaded by now is shared with the workers and never garbage


def _end_with_parent() -> None:
    """Have a worker end, with the connection it uses, when the controlling process is killed, however that happens.

    It has a session of its own, so that what kills the controller does not reach it: the host would be at work, under
    its lease, for a controller that is gone. Ansible's workers take SIGTERM for themselves and all they started.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _what_concludes() -> None:
    from orquestrador_ops.runs import lifecycle as runs

    runs.preload()
    # Every worker would load these again for its host, and read their documentation for the options.
    for loader, name in ((connection_loader, "ssh"), (shell_loader, "sh"), (become_loader, "sudo")):
        loader.get(name, class_only=True)


def _what_draws() -> None:
    from orquestrador_ops.core.i18n import translator
    from orquestrador_ops.sla.report import writer

    writer.preload(translator())
