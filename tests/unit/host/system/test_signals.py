"""Whom a signal reaches is seen by who is still there; the processes are real."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador.app.control import Application, Settings
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.emergency.ladders import offline as emergency_offline
from orquestrador.system import signals
from orquestrador.system.identity import Owner
from tests.unit.fakes import servers

ME = os.geteuid()
MINE = signals.Target(ME)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have processes of several users")


@contextlib.contextmanager
def process(script: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps, once it has done what ``script`` says."""
    code = f"import os, signal, time\n{script}\nprint(flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            child.stdout.readline()
            yield child
        finally:
            child.kill()


def lives(child: subprocess.Popen[bytes]) -> bool:
    """Whether it lives, a moment later as well."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(0.2)
    return child.returncode is None


def test_ones_own_is_ended() -> None:
    with process() as child:
        assert signals.end([child.pid, child.pid], MINE) == ([child.pid], [])
        assert child.wait(5) == -signal.SIGTERM


def test_one_that_does_not_listen_is_killed_in_time() -> None:
    with process("signal.signal(signal.SIGTERM, signal.SIG_IGN)") as child:
        began = time.monotonic()
        assert signals.end([child.pid], MINE, patience_s=0.2).pids == [child.pid]
        assert time.monotonic() - began < 2
        assert child.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (signals.Target(ME + 1), "belongs to"),
        (signals.Target(ME, still=lambda _: False), "not what it was"),
        (signals.Target(None, still=lambda _: False), "not what it was"),
    ],
)
def test_whoever_is_not_meant_is_left_alone_and_named(target: signals.Target, why: str) -> None:
    with process() as child:
        for sent in (signals.send([child.pid], signal.SIGKILL, target), signals.end([child.pid], target, first=None)):
            assert sent.pids == []
            (told,) = sent.left_alone
            assert why in plain(told)
            assert str(child.pid) in plain(told)
        assert lives(child)


def test_a_number_that_was_given_again_is_another_process() -> None:
    with process() as child:
        seen = signals.started(child.pid)
        assert seen
        before = signals.Target(ME, started={child.pid: seen - 1})
        assert "not what it was" in plain(signals.send([child.pid], signal.SIGKILL, before).left_alone[0])
        assert lives(child)
        assert signals.send([child.pid], signal.SIGKILL, signals.Target(ME, started={child.pid: seen})).pids


def test_who_is_gone_is_no_trouble() -> None:
    with process() as child:
        pass
    child.wait()
    assert signals.end([child.pid, 0, 1, -1], MINE) == ([], [])


@pytest.mark.parametrize("without", ["kernel", "python"])
def test_where_a_process_can_not_be_held_it_is_left_alone(monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if without == "kernel":
        monkeypatch.setattr(os, "pidfd_open", refuse)
    else:
        monkeypatch.delattr(os, "pidfd_open")
    with process() as child:
        sent = signals.end([child.pid], MINE)
        assert sent.pids == []
        assert "pidfd" in plain(sent.left_alone[0])
        assert lives(child)


@AS_ROOT
@pytest.mark.parametrize("ids", ["(-1, {uid}, -1)", "({uid}, {uid}, -1)", "(-1, -1, {uid})"])
def test_one_of_whose_ids_is_another_users_is_not_his(ids: str) -> None:
    """A program that has root's rights, or will take them again."""
    uid = pwd.getpwnam("nobody").pw_uid
    with process(f"os.setresuid{ids.format(uid=uid)}") as child:
        sent = signals.send([child.pid], signal.SIGKILL, signals.Target(uid))
        assert "belongs to root, not to nobody" in plain(sent.left_alone[0])
        assert lives(child)


@AS_ROOT
def test_who_answers_for_pm2_may_name_anybody_and_only_his_own_are_ended() -> None:
    """His socket says whose processes the application's are."""
    owner = Owner("nobody")
    become = f"os.setresuid({owner.uid}, {owner.uid}, {owner.uid})"
    with process() as others, process(become) as his, tempfile.TemporaryDirectory() as home:
        os.chown(home, owner.uid, owner.gid)
        told = [servers.pm2_process("app") | {"pid": child.pid, "pm_id": at} for at, child in enumerate((others, his))]
        with servers.unix(Path(home) / "rpc.sock", servers.answering(servers.pm2_reply(told))):
            os.chown(Path(home) / "rpc.sock", owner.uid, owner.gid)
            settings = Settings("app", 1, "/eco", home, "pm2", "http://127.0.0.1:1/", "ok", "connected")
            application = Application(owner, settings, hasty=True)
            scene: Any = SimpleNamespace(app=application, owner=owner, clues={}, params={})
            rungs = emergency_offline._Rungs(scene)
            assert sorted(rungs._pids()) == sorted([others.pid, his.pid])
            evidence = rungs._end_hung(5)
            assert evidence["pids"] == [his.pid]
            assert his.wait(5) == -signal.SIGKILL
            assert "belongs to root" in plain(evidence["left_alone"][0])
            with pytest.raises(OperatorError, match="belongs to"):
                rungs._end_hung(5)
        assert lives(others)


@pytest.mark.parametrize("approved", [True, False])
def test_a_stranger_on_the_port_is_ended_when_that_was_approved_and_he_still_holds_it(
    monkeypatch: pytest.MonkeyPatch, approved: bool
) -> None:
    with process() as holder:
        item = {"pid": holder.pid, "command": "x", "user": "y", "of_app": False}
        scene: Any = SimpleNamespace(app=None, owner=SimpleNamespace(uid=ME + 1), params={"kill_port_holder": approved})
        rungs = emergency_offline._Rungs(scene)
        for later, gone in (([], False), ([item], approved)):
            seen = iter([[item], later])
            monkeypatch.setattr(rungs, "_holders", lambda seen=seen: next(seen))
            if gone:
                assert rungs._free_port(1)["ended"][0]["pid"] == holder.pid
                assert holder.wait(5) == -signal.SIGTERM
            else:
                with pytest.raises(OperatorError, match="not what it was" if approved else "belongs to"):
                    rungs._free_port(1)
                assert lives(holder)
