"""Telling people through Apprise: side by side, each channel within its limit, and without a word of its address.

An address is a secret: it may hold passwords and tokens. What a channel answers may repeat it, so that nothing of it is
passed on but what can be told in words of our own.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

LIMIT_S = 10.0
_STATUS = re.compile(r"error ?[=:] ?(\d{3})\b")
# Apprise, and what it speaks HTTP with, whose log has whole addresses.
_TALKERS = ("apprise", "urllib3", "requests")
_KIND = re.compile(r"[a-z][a-z0-9+.-]{0,30}(?=://)", re.I)
_TIMED_OUT = re.compile(r"timed? ?out", re.I)
_NOT_CONNECTED = re.compile(r"connection|refused|resolve|unreachable", re.I)


def kind(address: str) -> str:
    """The kind of channel an address names, such as ``mailto``; ``?`` for none."""
    found = _KIND.match(address.strip())
    return found[0].lower() if found else "?"


def deliver(
    addresses: Mapping[str, str], title: str, body: str, *, tone: str = "failure", limit_s: float = LIMIT_S
) -> dict[str, Message | None]:
    """Send to every address at once; by its name ``None`` when it was taken, else why not.

    ``tone``: ``failure``, ``warning``, ``success`` or ``info``. Returns within ``limit_s`` seconds or shortly after,
    whatever a channel does. Never raises.
    """
    if not addresses:
        return {}
    try:
        import apprise
    except ImportError:
        missing = msg("Apprise is not installed: install it into the project's environment")
        return dict.fromkeys(addresses, missing)
    listener = _Listener()
    ended: dict[str, Message | None] = {}

    def send(name: str, address: str) -> None:
        ended[name] = _send(apprise, address, title, body, tone, listener)

    # Daemons: one that hangs must keep nobody from ending.
    threads = [threading.Thread(target=send, args=item, daemon=True) for item in addresses.items()]
    until = time.monotonic() + limit_s
    with listener:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))
    late = msg("it did not take the message within {limit_s}", limit_s=limit_s)
    return {name: ended.get(name, late) for name in addresses}


def _send(apprise: Any, address: str, title: str, body: str, tone: str, listener: _Listener) -> Message | None:
    try:
        asset = apprise.AppriseAsset(app_id="orquestrador-ops", async_mode=False)
        service = apprise.Apprise(asset=asset)
        if not service.add(address):
            return msg("its address is none that Apprise understands: correct escalation_channels")
        if service.notify(title=title, body=body, notify_type=tone, body_format=apprise.NotifyFormat.TEXT):
            return None
    except Exception as error:  # noqa: BLE001 - of any service's code; what it says may hold the address
        return msg("it failed ({error})", error=type(error).__name__)
    return _reason(listener.heard())


def _reason(said: str) -> Message:
    status = _STATUS.search(said)
    if status:
        return msg("the service refused the message (status {status})", status=int(status[1]))
    if _TIMED_OUT.search(said):
        return msg("it did not answer in time")
    if _NOT_CONNECTED.search(said):
        return msg("it can't be connected to")
    return msg("it did not take the message")


class _Listener(logging.Handler):
    """What Apprise has to say, by thread, kept from every log: addresses are in it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._said: dict[int | None, list[str]] = {}

    def __enter__(self) -> _Listener:
        for name in _TALKERS:
            logger = logging.getLogger(name)
            # For good: a thread that hangs goes on talking when nobody listens any more.
            logger.propagate = False
            if not logger.handlers:
                logger.addHandler(logging.NullHandler())
        logging.getLogger(_TALKERS[0]).setLevel(logging.DEBUG)
        logging.getLogger(_TALKERS[0]).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(_TALKERS[0]).removeHandler(self)
        logging.getLogger(_TALKERS[0]).setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        # Below a warning stands the message itself, whose words are no reason.
        if record.levelno >= logging.WARNING or said.startswith("Socket Exception"):
            self._said.setdefault(record.thread, []).append(said)

    def heard(self) -> str:
        """What was said in this thread."""
        return "\n".join(self._said.get(threading.get_ident(), []))
