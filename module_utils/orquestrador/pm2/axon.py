"""The axon wire format of PM2's RPC socket, and one bounded call over it.

A frame is one byte (version in the high half, number of arguments in the low half) and then, for each argument, a
big-endian 32-bit length and the data; JSON arguments begin ``j:``, strings ``s:``, anything else is a raw buffer
(seen with PM2 7.0, axon 4).

The raw answer carries the whole environment of every process. It must stay inside the caller that selects from it.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any, Optional

VERSION = 1
# A PM2 process weighs 5 to 10 KiB in the answer; 32 MiB is thousands of them.
MAX_FRAME_BYTES = 32 * 1024 * 1024
# Not the same as TimeoutError before Python 3.10.
SocketTimeout = socket.timeout


class AxonError(Exception):
    """The peer does not speak as PM2 does; ``code`` is stable and goes into a finding."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code


def encode(arguments: list[bytes]) -> bytes:
    """Build one frame of at most 15 arguments (four bits hold their number)."""
    if len(arguments) > 15:
        raise ValueError("an axon frame holds at most 15 arguments")
    parts = [bytes([VERSION << 4 | len(arguments)])]
    for argument in arguments:
        parts.append(struct.pack(">I", len(argument)))
        parts.append(argument)
    return b"".join(parts)


def decode(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> Optional[list[bytes]]:
    """Take the arguments of the first frame out of ``data``.

    Returns ``None`` while the frame is incomplete; what follows the frame is ignored.
    Raises :class:`AxonError` (``rubbish``) when this can't become a frame, however much more arrives.
    """
    if not data:
        return None
    version, count = data[0] >> 4, data[0] & 0x0F
    if version != VERSION:
        raise AxonError("rubbish", "unknown protocol version")
    at = 1
    arguments: list[bytes] = []
    for _ in range(count):
        if at + 4 > len(data):
            return None
        (length,) = struct.unpack_from(">I", data, at)
        at += 4
        if at + length > max_bytes:
            raise AxonError("rubbish", "frame too large")
        if at + length > len(data):
            return None
        arguments.append(data[at : at + length])
        at += length
    return arguments


def parse_argument(argument: bytes) -> Any:
    """Turn one argument into its value: JSON, text, or the bytes themselves.

    Raises :class:`AxonError` (``not_json``) when an argument says it is JSON and is not.
    """
    if argument.startswith(b"j:"):
        try:
            return json.loads(argument[2:])
        except (ValueError, RecursionError) as error:
            raise AxonError("not_json", type(error).__name__) from None
    if argument.startswith(b"s:"):
        return argument[2:].decode("utf-8", "replace")
    return argument


def parse_reply(arguments: list[bytes]) -> Any:
    """Take the result out of an RPC reply, ``{"args": [result]}``.

    PM2 7.0.4 answers ``[result]``; an answer in Node's callback order, ``[error, result]``, is understood as well.
    Raises :class:`AxonError`: ``rubbish`` when the shape is another one, ``remote_error`` when PM2 reports an error
    (whose text is dropped: it may quote the environment).
    """
    value = parse_argument(arguments[0]) if arguments else None
    if not isinstance(value, dict):
        raise AxonError("rubbish", "not a reply")
    if value.get("error"):
        raise AxonError("remote_error")
    args = value.get("args")
    if not isinstance(args, list) or not args:
        raise AxonError("rubbish", "not a reply")
    if len(args) == 1:
        return args[0]
    if args[0]:
        raise AxonError("remote_error")
    return args[1]


def _receive(connection: socket.socket, deadline: float, max_bytes: int) -> list[bytes]:
    """Read one frame until ``deadline`` (monotonic seconds); see :func:`call` for the errors."""
    data = bytearray()
    needed = 1
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise AxonError("timeout")
        connection.settimeout(left)
        try:
            chunk = connection.recv(262144)
        except SocketTimeout:
            raise AxonError("timeout") from None
        except OSError as error:
            raise AxonError("closed_early", type(error).__name__) from None
        if not chunk:
            raise AxonError("closed_early")
        data += chunk
        if len(data) < needed:  # spares parsing a large answer again at every chunk
            continue
        arguments = decode(bytes(data), max_bytes)
        if arguments is not None:
            return arguments
        if len(data) >= 5:
            needed = max(needed, 5 + struct.unpack_from(">I", data, 1)[0])
        if len(data) > max_bytes:
            raise AxonError("rubbish", "frame too large")


def call(path: str, method: str, *, timeout_s: float, max_bytes: int = MAX_FRAME_BYTES) -> Any:
    """Call ``method`` on the RPC socket at ``path`` and return its result, unselected.

    Bounded by ``timeout_s`` in total, however slowly the bytes come.

    Raises:
        OSError: the socket can't be connected to (``FileNotFoundError``, ``ConnectionRefusedError``,
            ``PermissionError``), before anything was sent.
        AxonError: connected, and then ``timeout``, ``closed_early``, ``rubbish``, ``not_json`` or ``remote_error``.
    """
    deadline = time.monotonic() + timeout_s
    request = json.dumps({"type": "call", "method": method, "args": [{}]}, separators=(",", ":"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
        except (SocketTimeout, BlockingIOError):
            # A Unix socket whose backlog is full: the daemon no longer accepts.
            raise AxonError("timeout") from None
        try:
            connection.sendall(encode([b"j:" + request.encode(), b"s:1:0"]))
        except SocketTimeout:
            raise AxonError("timeout") from None
        except OSError as error:
            raise AxonError("closed_early", type(error).__name__) from None
        return parse_reply(_receive(connection, deadline, max_bytes))
