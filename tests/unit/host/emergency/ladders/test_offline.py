"""Which scenario is behind an application that is offline, and which rungs that makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.emergency.diagnosis import diagnose as diagnosis
from orquestrador.emergency.ladders import offline as emergency_offline
from orquestrador.emergency.ladders.offline import APPROVALS, LADDERS
from orquestrador.pm2 import orphans as emergency_orphans

ONLINE = {"instances": 1, "online": 1, "statuses": {"online": 1}, "pids": [7]}
STRANGER = {"pid": 9, "command": "python3", "user": "nobody", "of_app": False}


def app(status: str) -> dict[str, Any]:
    return {"instances": 1, "online": 0, "statuses": {status: 1}, "pids": [0]}


def case(
    *,
    daemon: str = "online",
    of: dict[str, Any] | None = ONLINE,
    listeners: tuple[dict[str, Any], ...] = (),
    http: dict[str, Any] | None = None,
    critical: tuple[str, ...] = ("pm2.online",),
    procedure: str = "offline",
    port_open: bool = True,
    **clues: Any,
) -> dict[str, Any]:
    snapshot = {
        "pm2": {"daemon": daemon, "app": of},
        "port": {"open": port_open, "listeners": list(listeners)},
        "http": http or {"status": None, "error": "timeout"},
    }
    checks = [{"id": name, "status": "critical"} for name in critical]
    checks += [{"id": "mysql.reachable", "status": "ok"}]
    return diagnosis.diagnose(snapshot, {"procedure": procedure, "checks": checks, "reasons": []}, clues)


SYNTAX = "SyntaxError: Unexpected token ';'"
CASES = {
    "stopped": (case(of=app("stopped")), "stopped", None),
    "errored": (case(of=app("errored")), "errored", None),
    "waiting": (case(of=app("waiting restart")), "errored", None),
    "deleted": (case(of=None), "deleted", None),
    "halted": (case(halted=[7]), "halted", None),
    "one of two halted": (case(procedure="none", critical=(), halted=[7]), "halted", None),
    "hung": (case(), "hung", None),
    "one of two hangs": (case(http={"status": 200, "error": "timeout", "failures": 1}), "hung", None),
    "not listening": (case(http={"status": None, "error": "refused"}, port_open=False), "not_listening", None),
    "not listening, by its code": (case(port_open=False, last_error=SYNTAX), "crash_loop", "L3"),
    "answers badly": (case(http={"status": 500, "error": None}), "failing", "L3"),
    "daemon dead": (case(daemon="dead", of=None), "daemon_dead", None),
    "another's daemon": (case(daemon="foreign", of=None), "daemon_dead", None),
    "daemon silent": (case(daemon="unresponsive", of=None), "daemon_dead", None),
    "daemon halted": (case(daemon="unresponsive", of=None, daemon_halted=3), "daemon_halted", None),
    "young host": (case(daemon="dead", of=None, boot_age_s=20.0), "rebooted", None),
    "old host": (case(daemon="dead", of=None, boot_age_s=9e5), "daemon_dead", None),
    "port taken": (case(of=app("errored"), listeners=(STRANGER,)), "port_taken", "L2"),
    "port taken, no PM2": (case(daemon="dead", of=None, listeners=(STRANGER,)), "port_taken", "L2"),
    "orphan, PM2 back": (case(of=app("errored"), listeners=(STRANGER,), orphans=[9]), "orphaned", None),
    "orphan, PM2 gone": (case(daemon="dead", of=None, listeners=(STRANGER,), orphans=[9]), "daemon_dead", None),
    "syntax error": (case(of=app("errored"), last_error=SYNTAX), "crash_loop", "L3"),
    "stopped, old error": (case(of=app("stopped"), last_error=SYNTAX), "stopped", None),
    "no .env": (case(of=app("errored"), last_error=SYNTAX, env_missing="/a/.env"), "env_missing", "L2"),
    "no .env, serving": (
        case(procedure="database", critical=("app.database",), env_missing="/.env"),
        "env_missing",
        "L2",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_behind_it(name: str) -> None:
    found, scenario, level = CASES[name]
    assert (found["alert"], found["scenario"], found["level"]) == ("offline", scenario, level)
    assert found["severity"] == "critical"


def test_a_database_that_is_gone_is_not_blamed_on_a_lost_env() -> None:
    found = diagnosis.diagnose(
        {},
        {"procedure": "database", "checks": [{"id": "mysql.reachable", "status": "critical"}]},
        {"env_missing": "/a/.env"},
    )
    assert found["alert"] == "database"


@given(
    st.sampled_from(list(LADDERS)), st.sampled_from(["online", "dead", "unresponsive", "foreign", ""]), st.booleans()
)
def test_ladders_keep_their_rules(scenario: str, daemon: str, saved: bool) -> None:
    clues = {} if saved else {"nothing_saved": "/x"}
    names = emergency_offline.rungs({"scenario": scenario}, clues, daemon, lambda _: True)
    assert len(set(names)) == len(names)
    assert saved or "resurrect" not in names
    if scenario in APPROVALS:
        assert emergency_offline.rungs({"scenario": scenario}, clues, daemon, lambda _: False) == []
    commands = [at for at, name in enumerate(names) if name in ("restart", "reload", "start_anew", "resurrect")]
    if daemon not in ("online", "") and commands:
        assert "daemon" in names[: commands[0]], "a command of PM2 would start a second daemon"


@pytest.mark.parametrize("scenario", LADDERS)
def test_every_rung_of_every_ladder_exists(scenario: str) -> None:
    assert all(hasattr(emergency_offline._Rungs, name) for name in LADDERS[scenario])


def test_what_no_restart_heals_is_not_restarted() -> None:
    for scenario in ("env_missing", "crash_loop", "port_taken"):
        assert emergency_offline.rungs({"scenario": scenario}, {}, "online", lambda _: False) == []
    assert emergency_offline.rungs({"scenario": "errored"}, {}, "online", lambda _: True) == ["restart"]


def test_unknown_scenarios_get_the_whole_ladder_gentlest_first() -> None:
    names = emergency_offline.rungs({"scenario": "new"}, {}, "online", lambda _: False)
    assert names == ["reload", "restart", "start_anew", "resurrect"]


def _process(proc: Path, pid: int, parent: int, title: str = "node", **variables: str) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} (x) S {parent} 1")
    (folder / "cmdline").write_bytes(title.encode())
    (folder / "environ").write_bytes(b"\0".join(f"{k}={v}".encode() for k, v in variables.items()))
    (folder / "cgroup").write_text("1:name=systemd:/system.slice/a.service\n0::/system.slice/squat.service\n")


def test_an_orphan_has_what_pm2_gave_it_and_no_pm2_above_it(tmp_path: Path) -> None:
    mine = {"name": "app", "pm_id": "0", "PM2_HOME": "/h/.pm2"}
    _process(tmp_path, 50, 1, "PM2 v6.0.5: God Daemon (/h/.pm2)")
    _process(tmp_path, 51, 1, **mine)
    _process(tmp_path, 52, 50, **mine)
    _process(tmp_path, 53, 52, **mine)
    _process(tmp_path, 54, 1, PM2_HOME="/h/.pm2")
    _process(tmp_path, 55, 1, **{**mine, "name": "other"})
    _process(tmp_path, 56, 1, **{**mine, "PM2_HOME": "/root/.pm2"})
    listeners = [{"pid": pid} for pid in (None, 1, 51, 52, 53, 54, 55, 56, 99)]
    found = emergency_orphans.find(listeners, app="app", uid=os.geteuid(), home="/h/.pm2/", proc=str(tmp_path))
    assert found == [51]
    others = emergency_orphans.find(listeners, app="app", uid=os.geteuid() + 1, home="/h/.pm2", proc=str(tmp_path))
    assert others == []
    assert emergency_orphans.unit_of(51, str(tmp_path)) == "squat.service"
    assert emergency_orphans.unit_of(99, str(tmp_path)) is None
