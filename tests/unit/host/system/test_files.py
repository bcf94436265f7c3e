"""One holder of a lock's file at a time, also when the file is replaced."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.system import files


def test_a_lock_that_is_held_is_refused_and_free_again_when_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "x.lock")
    first = files.lock_file(path)
    with pytest.raises(BlockingIOError):
        files.lock_file(path)
    os.close(first)
    os.close(files.lock_file(path))


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "x.lock")
    first = files.lock_file(path)
    threading.Timer(0.1, os.close, [first]).start()
    os.close(files.lock_file(path, 10.0))


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "x.lock").symlink_to("target")
    with pytest.raises(OSError, match="symbolic link"):
        files.lock_file(str(tmp_path / "x.lock"))


def test_who_is_at_work_in_a_directory_is_named(tmp_path: Path) -> None:
    with files.locked(str(tmp_path), "code_backup", 0.0) as lock:
        lock.tell(action="code_backup", since_at="1970-01-01T00:00:00Z", bytes=5)
        with pytest.raises(OperatorError) as refused, files.locked(str(tmp_path), "retention", 0.0):
            pass
    said = plain(refused.value.message)
    assert f"(code_backup, process {os.getpid()}, since 1970-01-01T00:00:00Z, 5 so far)" in said
