"""What PM2 drops while it reopens its logs is found on its bus and put back; nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.logs import reopen as log_reopen
from orquestrador.logs.reopen import Daemon, Stream, reopen, streams
from orquestrador.logs.rotation import FREE, HELD, held, parse, rotated_name
from orquestrador.pm2 import axon
from orquestrador.pm2.bus import Spoken, frames, missing, spoken


def event(data: str, pm_id: Any = 0, name: str = "log:out") -> list[bytes]:
    return [f"s:{name}".encode(), b"j:" + json.dumps({"process": {"pm_id": pm_id}, "data": data}).encode()]


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=3), max_size=5), st.integers(0, 300))
def test_frames_come_out_whole_however_they_arrive(sent: list[list[bytes]], cut: int) -> None:
    data = b"".join(axon.encode(arguments) for arguments in sent)
    buffer = bytearray(data[:cut])
    found = list(frames(buffer))
    buffer += data[cut:]
    assert [*found, *frames(buffer)] == sent


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x00\x00", b"GET / HTTP/1.1", struct.pack(">BI", 0x11, 1 << 31)])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(axon.AxonError):
        list(frames(bytearray(data)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (event("a\n"), Spoken(0, "out", b"a\n")),
        (event("a\n", 3, "log:err"), Spoken(3, "err", b"a\n")),
        (event("\ud83d"), Spoken(0, "out", b"\xef\xbf\xbd")),
        (event("é😀"), Spoken(0, "out", "é😀".encode())),
        (event("a", name="process:event"), None),
        (event("a", "PM2"), None),
        ([b"s:log:out", b"j:nonsense"], None),
        ([b"s:log:out", b"j:[1]"], None),
        ([b"s:log:out"], None),
    ],
)
def test_only_lines_are_taken_from_the_bus(arguments: list[bytes], expected: Spoken | None) -> None:
    assert spoken(arguments) == expected


LINE = st.sampled_from([b"a", b"b", b"a long one", b"", b"[Jobs] 1"])


@given(
    st.lists(st.tuples(st.integers(0, 2), LINE, st.booleans()), max_size=30), st.lists(LINE, max_size=5), st.booleans()
)
def test_missing_lines_are_those_that_were_dropped(
    said: list[tuple[int, bytes, bool]], earlier: list[bytes], later: bool
) -> None:
    """Never more than was dropped; all of it when no line of the same text was written before the listening."""
    heard = [Spoken(writer, "out", line + b"\n") for writer, line, _ in said]
    content = b"".join(line + b"\n" for line in earlier)
    content += b"".join(line + b"\n" for _, line, dropped in said if not dropped)
    content += b"later\n" if later else b""
    found = missing(heard, content)
    dropped = [line for _, line, gone in said if gone]
    for line in set(found):
        assert found.count(line) <= dropped.count(line)
    inner = {line for line in dropped if not any(text.endswith(line) for text in [*earlier, b"later", b""])}
    written = [line for _, line, gone in said if not gone]
    for line in inner:
        if not any(text.endswith(line) for text in written):
            assert found.count(line) == dropped.count(line)


def test_part_of_a_line_is_found_where_it_stands() -> None:
    heard = [Spoken(0, "out", b"of a line\nwhole\nunfinished")]
    assert missing(heard, b"beginning of a line\nwhole\nunfinished end\n") == []
    assert missing(heard, b"beginning of a line\nunfinished\n") == [b"whole"]
    assert missing(heard, b"whole\n") == [b"of a line", b"unfinished"]


@given(st.text("ab.-\n é", min_size=1, max_size=20).filter(lambda name: name not in (".", "..")))
def test_rotated_name_says_what_it_was(name: str) -> None:
    path = rotated_name(f"/logs/{name}", "20260102T030405Z-0a1b2c")
    found = parse(path)
    assert found is not None
    assert (found.log, found.id, found.state) == (f"/logs/{name}", "20260102T030405Z-0a1b2c", "spool")


@pytest.mark.parametrize("name", [".x.log.20269902T030405Z-0a1b2c.spool", ".x.log.spool", "x.log", ".x.log.1.kept"])
def test_other_names_are_not_ours(name: str) -> None:
    assert parse(f"/logs/{name}") is None


def test_kernel_tells_whether_anybody_writes(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("w"):
        assert held(str(log)) == HELD
    with log.open():
        assert held(str(log)) == FREE, "a reader, as tail -f is one, writes nothing"


def test_streams_are_selected_by_who_writes_them() -> None:
    def process(mode: str, status: str, **paths: Any) -> dict[str, Any]:
        return {
            "pid": 7,
            "pm2_env": {"name": "a", "pm_id": 1, "exec_mode": mode, "status": status, "SECRET": "x", **paths},
        }

    raw = [
        process("fork_mode", "online", pm_out_log_path="/l/o", pm_err_log_path="/dev/null", pm_log_path="/l/all"),
        process("cluster_mode", "online", pm_out_log_path="/l/o", pm_err_log_path=None),
        process("cluster_mode", "stopped", pm_err_log_path="/l/e"),
        {"pm2_env": None},
        5,
    ]
    assert streams(raw, 99) == [
        Stream("a", 1, "out", "/l/o", 99),
        Stream("a", 1, "std", "/l/all", 99),
        Stream("a", 1, "out", "/l/o", 7),
        Stream("a", 1, "err", "/l/e", 0),
    ]
    assert streams({"rubbish": 1}, 99) == []


class Pm2:
    """A PM2 that speaks, writes a log, and drops lines while it reopens it as the real one does."""

    def __init__(self, home: Path, log: Path, drop: int) -> None:
        self.log, self.drop = log, drop
        self.file = log.open("ab", buffering=0)
        self.subscribers: list[socket.socket] = []
        self.count = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.sockets = []
        for name in ("pub.sock", "rpc.sock"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(home / name))
            listener.listen(8)
            self.sockets.append(listener)
        for work in (self.serve, self.write):
            threading.Thread(target=work, daemon=True).start()

    def serve(self) -> None:
        """One loop for both sockets, as the real one has: who subscribed before asking is heard before the answer."""
        while not self.ended.is_set():
            with contextlib.suppress(OSError, ValueError):  # closed
                for ready in select.select(self.sockets, [], [], 0.05)[0]:
                    connection, _ = ready.accept()
                    if ready is self.sockets[0]:
                        self.subscribers.append(connection)
                    else:
                        self.answer(connection)

    def answer(self, connection: socket.socket) -> None:
        with connection:
            asked = connection.recv(65536)
            if b"reloadLogs" in asked:
                with self.lock:
                    self.file.close()
                    for _ in range(self.drop):
                        self.say(written=False)
                    time.sleep(0.02)
                    self.file = self.log.open("ab", buffering=0)
            connection.sendall(axon.encode([b'j:{"args":[1]}', b"s:1:0"]))

    def say(self, *, written: bool) -> None:
        self.count += 1
        line = f"line {self.count}\n"
        for subscriber in self.subscribers:
            with contextlib.suppress(OSError):  # it has unsubscribed
                subscriber.sendall(axon.encode(event(line)))
        if written:
            self.file.write(line.encode())

    def write(self) -> None:
        while not self.ended.is_set():
            with self.lock:
                self.say(written=True)
            time.sleep(0.001)

    def end(self) -> None:
        with self.lock:
            self.ended.set()
            self.file.close()
        for each in [*self.sockets, *self.subscribers]:
            each.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


@pytest.mark.parametrize("drop", [0, 7])
def test_dropped_lines_are_put_back_in_their_order(home: Path, monkeypatch: pytest.MonkeyPatch, drop: int) -> None:
    monkeypatch.setattr(log_reopen, "SETTLE_S", 2.0)
    log, old = home / "out.log", home / "old"
    pm2 = Pm2(home, log, drop)
    try:
        time.sleep(0.05)

        def rotate() -> dict[str, str]:
            log.rename(old)
            return {str(log): str(old)}

        daemon = Daemon("online", os.getpid(), str(home), [Stream("a", 0, "out", str(log), os.getpid())])
        done = reopen(daemon, rotate, 5)
    finally:
        pm2.end()
    assert (done.problem, done.proven, done.restored) == (None, True, drop)
    written = old.read_text() + log.read_text()
    assert written.splitlines() == [f"line {number}" for number in range(1, pm2.count + 1)]


def test_nothing_is_renamed_when_the_bus_can_not_be_listened_to(home: Path) -> None:
    done = reopen(Daemon("online", 1, str(home), []), lambda: pytest.fail("renamed"), 1)
    assert done.problem is not None
    assert "pub.sock" in done.problem["text"]
