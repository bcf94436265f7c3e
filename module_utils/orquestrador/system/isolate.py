"""Do a piece of work in a process of its own that is wholly the application's user, and ends at its limit."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from typing import Any, Callable

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from .identity import Owner

_MAX_BYTES = 8 * 1024 * 1024
_KEPT = {"TZ"}  # local times in logs
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def apart(owner: Owner, work: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What ``work`` returned, done as ``owner`` with nothing of root's left, in a process group of its own.

    What it started ends with it. All code that it needs has to be loaded before.

    :raises OperatorError: it raised one, it did not end in time, or it was killed.
    """
    end = time.monotonic() + seconds
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(owner, work, receive, send)
    os.close(send)
    try:
        said = _read(receive, end)
    finally:
        os.close(receive)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    try:
        told = json.loads(said)
    except ValueError:
        if time.monotonic() >= end:
            raise OperatorError(msg("it did not end within {limit_s}", limit_s=round(seconds))) from None
        raise OperatorError(msg("it ended without a word: see what killed it in the journal of the host")) from None
    if "error" in told:
        failed = OperatorError(told["error"])
        raise failed
    result: dict[str, Any] = told["value"]
    return result


def _child(owner: Owner, work: Callable[[], dict[str, Any]], receive: int, send: int) -> None:
    code = 1
    try:
        os.setsid()
        os.close(receive)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        owner.become()
        for name in set(os.environ) - _KEPT:
            del os.environ[name]
        os.environ.update(HOME=owner.home, USER=owner.name, LOGNAME=owner.name, PATH=_PATH, LC_ALL="C")
        try:
            told: dict[str, Any] = {"value": work()}
        except OperatorError as error:
            told = {"error": error.message}
        except OSError as error:
            reason = os_reason(error)
            told = {"error": msg("{path}: {reason}", path=str(error.filename or "?"), reason=reason)}
        except Exception as error:  # noqa: BLE001 - its class only: its text may quote whatever was being read
            reason = type(error).__name__
            told = {"error": msg("This ended by a defect ({reason}): report it, and go on by hand", reason=reason)}
        with os.fdopen(send, "w", encoding="utf-8") as file:
            json.dump(told, file)
        code = 0
    finally:
        os._exit(code)


def _read(receive: int, end: float) -> bytes:
    said = b""
    while len(said) < _MAX_BYTES:
        left = end - time.monotonic()
        if left <= 0 or not select.select([receive], [], [], left)[0]:
            break
        part = os.read(receive, 65536)
        if not part:
            break
        said += part
    return said
