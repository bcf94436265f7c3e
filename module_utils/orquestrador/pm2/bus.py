"""PM2's bus, listened to while PM2 reopens its logs, so that no line is lost that PM2 itself would lose.

``reloadLogs`` destroys each log's stream, with what is still queued in it, and opens the error log only when the
output log is open (PM2 7.0, ``lib/God/ForkMode.js``, ``lib/ProcessContainer.js``, ``lib/Utility.js``): what a process
writes in those milliseconds is dropped. But every line is put on the bus before it is put into the file. What was on
the bus and is in neither file is what was lost, and can be written where it belongs: at the end of the old one.

The bus also carries events with whole environments: only those of logs are looked into.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

from .axon import VERSION, AxonError

MAX_BUFFER = 64 * 1024 * 1024  # of one frame, and of all that is kept
_EVENTS = {b"s:log:out": "out", b"s:log:err": "err"}


class Spoken(NamedTuple):
    """What one process wrote at once: ``stream`` is ``out`` or ``err``, ``data`` as it goes into the log."""

    pm_id: int
    stream: str
    data: bytes


def frames(buffer: bytearray) -> Iterator[list[bytes]]:
    """Take every whole frame out of ``buffer``; :class:`.axon.AxonError` when it holds none and never will."""
    while buffer:
        if buffer[0] >> 4 != VERSION:
            raise AxonError("rubbish", "unknown protocol version")
        at, arguments = 1, []
        for _ in range(buffer[0] & 0x0F):
            if at + 4 > len(buffer):
                return
            (length,) = struct.unpack_from(">I", buffer, at)
            if length > MAX_BUFFER:
                raise AxonError("rubbish", "frame too large")
            if at + 4 + length > len(buffer):
                return
            arguments.append(bytes(buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        del buffer[:at]
        yield arguments


def spoken(arguments: list[bytes]) -> Optional[Spoken]:
    """The line or lines that a frame carries, ``None`` when it carries something else."""
    if len(arguments) != 2 or arguments[0] not in _EVENTS or not arguments[1].startswith(b"j:"):
        return None
    try:
        event = json.loads(arguments[1][2:])
        pm_id, data = event["process"]["pm_id"], event["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(pm_id, int) or not isinstance(data, str):
        return None
    # Half of a surrogate pair is written into the file as U+FFFD.
    whole = data.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return Spoken(pm_id, _EVENTS[arguments[0]], whole.encode())


class Bus:
    """A subscription to ``<home>/pub.sock``; :class:`OSError` when there is none to be had."""

    def __init__(self, home: str, timeout_s: float = 2.0) -> None:
        self.heard: list[Spoken] = []
        self.whole = True  # false when the subscription ended before us, so that something may have been missed
        self._buffer = bytearray()
        self._kept = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(f"{home}/pub.sock")
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def drain(self) -> None:
        """Take what has come. Never blocks, never raises."""
        if not self.whole:
            return
        try:
            while True:
                chunk = self._socket.recv(1 << 20)
                if not chunk:
                    self.whole = False
                    break
                self._buffer += chunk
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.whole = False
        try:
            for arguments in frames(self._buffer):
                said = spoken(arguments)
                if said is not None:
                    self.heard.append(said)
                    self._kept += len(said.data)
            self.whole = self.whole and self._kept < MAX_BUFFER
        except AxonError:
            self.whole = False

    def close(self) -> None:
        """Unsubscribe."""
        with contextlib.suppress(OSError):
            self._socket.close()


def missing(heard: Iterable[Spoken], content: bytes) -> list[bytes]:
    """Lines that were ``heard`` for one log and are not in ``content``, what was written to it since, in their order.

    Lines are counted, since several processes may write the same ones. What a process said first may be the end of a
    line only, and what it said last the beginning of one.
    """
    by_writer: dict[tuple[int, str], bytearray] = {}
    for said in heard:
        by_writer.setdefault((said.pm_id, said.stream), bytearray()).extend(said.data)
    written = content.split(b"\n")
    there = Counter(written)
    lost: list[bytes] = []
    for data in by_writer.values():
        lines = bytes(data).split(b"\n")
        unfinished = lines.pop()
        for number, line in enumerate(lines):
            if there[line] > 0:
                there[line] -= 1
            elif number or not any(whole.endswith(line) for whole in written):
                lost.append(line)
        if unfinished and not any(whole.startswith(unfinished) for whole in written):
            lost.append(unfinished)
    return lost
