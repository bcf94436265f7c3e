"""A long command neither hangs nor leaves anything, and what it prints becomes text."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.system import long_command


def run(script: str, cwd: Path, timeout_s: float = 20) -> long_command.Ended:
    return long_command.run(["/bin/sh", "-c", script], cwd=str(cwd), timeout_s=timeout_s, mark=secrets.token_hex(8))


def running(words: str) -> bool:
    return subprocess.run(["pgrep", "-fx", words], capture_output=True, check=False).returncode == 0


def test_both_streams_in_their_order(tmp_path: Path) -> None:
    done = run("echo one; echo two >&2; echo three; pwd; exit 3", tmp_path)
    assert done.output == f"one\ntwo\nthree\n{tmp_path}\n"
    assert (done.code, done.timed_out, done.error) == (3, False, None)


@pytest.mark.parametrize("detach", ["", "setsid "])
def test_nothing_is_left_at_the_limit(tmp_path: Path, detach: str) -> None:
    began = time.monotonic()
    done = run(f"echo begun; {detach}sleep 31.7{len(detach)} & sleep 31.7{len(detach)}", tmp_path, 0.7)
    assert (done.code, done.timed_out, done.output) == (None, True, "begun\n")
    assert time.monotonic() - began < 10
    assert not running(f"sleep 31.7{len(detach)}")


def test_a_child_left_behind_with_the_output_does_not_hold_it_up(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run("setsid sleep 31.8 & echo done", tmp_path)
    assert (done.code, done.output) == (0, "done\n")
    assert time.monotonic() - began < 10
    assert not running("sleep 31.8")


def test_closed_output_is_waited_for(tmp_path: Path) -> None:
    done = run("exec >&- 2>&-; sleep 0.3; exit 7", tmp_path)
    assert (done.code, done.timed_out) == (7, False)


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    done = long_command.run(["/no/such"], cwd=str(tmp_path), timeout_s=1, mark="x")
    assert (done.code, done.error) == (None, "No such file or directory")


def test_an_exception_ends_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(long_command, "_follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("sleep 31.9", tmp_path)
    assert not running("sleep 31.9")


def test_only_the_marked_are_ended() -> None:
    mark = secrets.token_hex(8)
    mine = subprocess.Popen(["sleep", "33"], env={**os.environ, long_command.MARK: mark})
    other = subprocess.Popen(["sleep", "33"], env={**os.environ, long_command.MARK: mark + "x"})
    try:
        time.sleep(0.1)
        assert long_command.end_marked(mark) == 1
        assert mine.wait(5) == -9
        assert other.poll() is None
        assert long_command.end_marked(mark) == 0
    finally:
        other.kill()
        other.wait()


def test_the_ended_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the kernel takes its time, as it does on a busy machine."""
    kill = signal.pidfd_send_signal

    def late(held: int, number: int) -> None:
        threading.Timer(0.3, kill, (os.dup(held), number)).start()

    monkeypatch.setattr(signal, "pidfd_send_signal", late)
    mark = secrets.token_hex(8)
    mine = subprocess.Popen(["sleep", "34"], env={**os.environ, long_command.MARK: mark})
    try:
        time.sleep(0.1)
        assert long_command.end_marked(mark) == 1
        assert long_command.marked(mark) == []
    finally:
        mine.kill()
        mine.wait()


def test_pm2_and_what_runs_under_it_are_spared(tmp_path: Path) -> None:
    for pid, parent, title in ((10, 1, "PM2 v7.0.1: God Daemon (/home/a/.pm2)"), (11, 10, "node app"), (12, 1, "npm")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_bytes(b"A=1\0" + f"{long_command.MARK}=m".encode() + b"\0")
        (tmp_path / str(pid) / "cmdline").write_bytes(title.encode() + b"\0")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (no de) ) S {parent} 1 1")
    assert long_command.marked("m", str(tmp_path)) == [12]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;32mgreen\x1b[0m", "green"),
        ("10 %\r50 %\r100 %\nend\r\n", "100 %\nend\n"),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", "textlink"),
        ("a\x1b(Bb\x1b[?25l\x1b[2Kc", "abc"),
        ("bell\x07 \x00tab\tkept  ", "bell tab\tkept"),
    ],
)
def test_readable(text: str, expected: str) -> None:
    assert long_command.readable(text) == expected


@given(st.text(alphabet=st.sampled_from("\x1b[]0;mA\x07\\\r\n?("), max_size=60))
def test_no_escape_code_survives_anything(text: str) -> None:
    assert not set(long_command.readable(text)) & {"\x1b", "\x07", "\r"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n", "two"),
        ("building\nx.ts:3 ERROR: no such thing\nnpm says more\n", "x.ts:3 ERROR: no such thing"),
        ("", ""),
        ("failed with password=hunter2hunter2\n", "failed with password=***"),
    ],
)
def test_telling(text: str, expected: str) -> None:
    assert long_command.telling(text) == expected
