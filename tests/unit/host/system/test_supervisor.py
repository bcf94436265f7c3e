"""A worker that ends, hangs, dies or leaves children: the guard tells which, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orquestrador.system import supervisor as emergency_guard
from orquestrador.system.supervisor import Watched

ROOT = Path(__file__).resolve().parents[4]


def isolated(body: str, tmp_path: Path) -> str:
    """Run in a process of its own: the guard makes its process adopt orphans, which a test runner should not."""
    script = (
        "import os, signal, subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from orquestrador.system.supervisor import watch\n"
        f"tmp = Path({str(tmp_path)!r})\n{body}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("print(watch(lambda tell: {'done': 1}, limit_s=5))", Watched({"done": 1}, True, False)),
        (
            "def work(tell):\n    tell({'at': 1})\n    tell({'at': 2})\n    time.sleep(60)\n"
            "print(watch(work, limit_s=0.4))",
            Watched({"at": 2}, False, True),
        ),
        (
            "def work(tell):\n    tell({'at': 1})\n    os.kill(os.getpid(), signal.SIGKILL)\n"
            "print(watch(work, limit_s=5))",
            Watched({"at": 1}, False, False),
        ),
        ("print(watch(lambda tell: 1 / 0, limit_s=5))", Watched(None, False, False)),
        (
            "def work(tell):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)\n"
            "print(watch(work, limit_s=0.2, grace_s=0.2))",
            Watched(None, False, True),
        ),
        ("print(watch(lambda tell: {'text': 'x' * 300000}, limit_s=5).said['text'].count('x'))", 300000),
    ],
    ids=["ends", "hangs", "killed", "raises", "ignores TERM", "says much"],
)
def test_what_became_of_the_worker(body: str, expected: Any, tmp_path: Path) -> None:
    began = time.monotonic()
    assert isolated(body, tmp_path) == str(expected)
    assert time.monotonic() - began < 8


def test_the_last_word_counts_although_the_worker_ends_while_nobody_looks(tmp_path: Path) -> None:
    body = (
        "from orquestrador.system import supervisor as emergency_guard\n"
        "gone = emergency_guard._gone\n"
        "def late(pid):\n    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n    return gone(pid)\n"
        "emergency_guard._gone = late\n"
        "def work(tell):\n    time.sleep(0.8)\n    return {'at': 3}\n"
        "print(watch(work, limit_s=5))"
    )
    assert isolated(body, tmp_path) == str(Watched({"at": 3}, True, False))


def test_a_worker_told_to_end_unwinds(tmp_path: Path) -> None:
    body = (
        "def work(tell):\n"
        "    try:\n        time.sleep(60)\n"
        "    finally:\n        (tmp / 'unwound').touch()\n"
        "watch(work, limit_s=0.3)"
    )
    isolated(body, tmp_path)
    assert (tmp_path / "unwound").exists()


@pytest.mark.parametrize("ending", ["time.sleep(60)", "os.kill(os.getpid(), signal.SIGKILL)", "pass"])
def test_no_child_outlives_it_not_even_in_a_session_of_its_own(ending: str, tmp_path: Path) -> None:
    body = (
        "def work(tell):\n"
        "    child = subprocess.Popen(['sh', '-c', 'sleep 97 & sleep 98'], start_new_session=True)\n"
        "    tell({'pid': child.pid})\n    time.sleep(0.2)\n"
        f"    {ending}\n    return {{'pid': child.pid}}\n"
        "print(watch(work, limit_s=0.5).said['pid'])"
    )
    pid = int(isolated(body, tmp_path))
    for _ in range(50):
        names = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
        below = [name for name in names if emergency_guard.process_parent(int(name)) == pid]
        if not Path(f"/proc/{pid}").exists() and not below:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("a child is left")


def test_daemons_of_pm2_and_what_they_run_are_no_children(tmp_path: Path) -> None:
    def process(pid: int, parent: int, title: str) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (a b) c) S {parent} 1 1 0")
        (folder / "cmdline").write_bytes(title.encode() + b"\0")

    process(10, 1, "python3")
    process(11, 10, "PM2 v6.0.5: God Daemon (/home/me/.pm2)")
    process(12, 11, "node app.js")
    process(13, 10, "pm2 restart")
    process(14, 13, "sh")
    process(15, 1, "other")
    assert sorted(emergency_guard._descendants(10, str(tmp_path))) == [13, 14]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"", (None, False)),
        (b"no json\n", (None, False)),
        (b'{"complete": false, "word": {"a": 1}}\n{"compl', ({"a": 1}, False)),
        (b'{"complete": false, "word": {"a": 1}}\n{"complete": true, "word": {"a": 2}}\n', ({"a": 2}, True)),
    ],
)
def test_the_last_complete_word_counts(lines: bytes, expected: Any) -> None:
    assert emergency_guard._last(lines) == expected
    assert emergency_guard._last(emergency_guard._kept(lines)) == expected
