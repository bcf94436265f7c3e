"""What passes through a pipe into another one, and what becomes of it when nobody reads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orquestrador.system import pipeline as backup_pipe


def pass_on(data: bytes, size: int) -> tuple[bytes, bytes]:
    """What was handed out and what arrived in the other pipe."""
    source_read, source_write = os.pipe()
    sink_read, sink_write = os.pipe()
    arrived: list[bytes] = []

    def write() -> None:
        for start in range(0, len(data), size):
            backup_pipe.write_all(source_write, data[start : start + size])
        os.close(source_write)

    threads = [
        threading.Thread(target=write),
        threading.Thread(target=lambda: arrived.extend(backup_pipe.pieces(sink_read))),
    ]
    for thread in threads:
        thread.start()
    seen = b"".join(backup_pipe.teed(source_read, sink_write))
    os.close(sink_write)
    for thread in threads:
        thread.join(10)
    for descriptor in (source_read, sink_read):
        os.close(descriptor)
    return seen, b"".join(arrived)


@pytest.mark.parametrize("size", [1000, 4096, 1 << 20])
@pytest.mark.parametrize("length", [0, 1, 70_000, 3_000_000])
def test_both_pipes_carry_the_same(length: int, size: int) -> None:
    data = os.urandom(length)
    assert pass_on(data, size) == (data, data)


def test_a_kernel_that_cannot_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def tee(self, *_: int) -> int:
            backup_pipe.ctypes.set_errno(22)
            return -1

    monkeypatch.setattr(backup_pipe, "_LIBC", Without())
    data = os.urandom(300_000)
    assert pass_on(data, 4096) == (data, data)


def test_a_pipe_that_nobody_reads_is_told_of() -> None:
    source_read, source_write = os.pipe()
    sink_read, sink_write = os.pipe()
    os.close(sink_read)
    os.write(source_write, b"something")
    with pytest.raises(BrokenPipeError):
        next(backup_pipe.teed(source_read, sink_write))
    for descriptor in (source_read, source_write, sink_write):
        os.close(descriptor)


def test_work_ends_when_nobody_reads_what_it_prints() -> None:
    program = (
        "import time; from orquestrador.system import pipeline as backup_pipe; backup_pipe.end_on_signals();"
        " print('ready', flush=True); time.sleep(30)"
    )
    root = Path(__file__).resolve().parents[4]
    child = subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    child.stdout.close()
    assert child.wait(10) == 129
