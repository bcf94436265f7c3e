"""Commands that can neither hang, nor flood, nor leave children behind."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from orquestrador.system.command import run


def gone(pid: int) -> bool:
    """Whether a process has ended, also when nobody has waited for it yet."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_what_a_command_says_and_how_it_ends() -> None:
    done = run(
        ["sh", "-c", "echo $LC_ALL $EXTRA; echo oops >&2; exit 3"], timeout_s=10, env={"EXTRA": "x", "LC_ALL": "pt"}
    )
    assert (done.code, done.stdout, done.stderr, done.timed_out) == (3, b"C x\n", b"oops\n", False)


def test_at_the_timeout_it_is_killed_with_its_children_and_what_it_said_is_kept(tmp_path: Path) -> None:
    began = time.monotonic()
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; echo said; wait"
    done = run(["sh", "-c", script], timeout_s=0.5)
    assert time.monotonic() - began < 3
    assert (done.code, done.stdout, done.timed_out) == (None, b"said\n", True)
    assert gone(int((tmp_path / "self").read_text()))
    assert gone(int((tmp_path / "child").read_text()))


def test_a_child_that_keeps_the_pipes_open_does_not_keep_the_caller() -> None:
    began = time.monotonic()
    done = run(["sh", "-c", "sleep 5 & echo said"], timeout_s=4.5)
    assert (done.code, done.stdout, done.timed_out) == (0, b"said\n", False)
    assert time.monotonic() - began < 3


def test_what_is_said_last_is_read_although_it_ends_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a command may speak and end between the look at its output and the look at itself."""
    poll = subprocess.Popen.poll
    monkeypatch.setattr(subprocess.Popen, "poll", lambda self: self.wait() if poll(self) is None else poll(self))
    done = run(["sh", "-c", "sleep 0.4; echo said"], timeout_s=5)
    assert (done.code, done.stdout) == (0, b"said\n")


def test_a_flood_is_cut_and_read_to_its_end() -> None:
    done = run(["head", "-c", "3000000", "/dev/zero"], timeout_s=10, max_bytes=1000)
    assert (done.code, len(done.stdout), done.truncated) == (0, 1000, True)


def test_standard_input_is_empty() -> None:
    assert run(["cat"], timeout_s=5).code == 0


@pytest.mark.parametrize(
    ("argv", "error"), [(["/nonexistent"], "FileNotFoundError"), (["/"], "PermissionError"), (["a\0b"], "ValueError")]
)
def test_a_command_that_can_not_start_is_an_answer(argv: list[str], error: str) -> None:
    done = run(argv, timeout_s=5)
    assert (done.code, done.error) == (None, error)


def test_the_group_is_its_own() -> None:
    done = run(["sh", "-c", "ps -o pgid= -p $$"], timeout_s=5)
    assert int(done.stdout) != os.getpgrp()
