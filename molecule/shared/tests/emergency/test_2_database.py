"""The application has no database: what can be mended here is mended, what can't is told to whoever can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from database_faults import STRANGER, Database
from faults import Faults
from machine import DATABASE, Machine
from records import Emergency, Untouched, climbed, diagnosis, steps

SERVER, SETTINGS = "mysql", "files"


@pytest.fixture(scope="module")
def database(machine: Machine) -> Database:
    return Database(machine)


@pytest.fixture(autouse=True)
def database_mended(database: Database, mended: None) -> Iterator[None]:
    """Back to a server that is well, before the application is looked at."""
    yield
    database.mend()


@dataclass(frozen=True)
class Fault:
    """How to break it, what the diagnosis has to say, which rungs have to be climbed, what may change."""

    id: str
    break_it: Callable[[Database], object]
    scenario: str
    rungs: tuple[str, ...]
    but: tuple[str, ...] = (SERVER,)


def _started_with_wrong_port(database: Database) -> None:
    """The application started with settings that are corrected by now: it can't know."""
    database.env("DB_PORT", "3399")
    database.restart_app()
    database.env("DB_PORT", "3306")


def _looping(database: Database) -> None:
    """The application ends because its database is gone, until PM2 gives up on it."""
    database.needs_database()
    database.stop()
    database.machine.app("pm2 restart orquestrador-v3 >/dev/null || true", timeout=60)
    Faults.wait_status(Faults(database.machine, keep=False), "errored")


def _both_down(database: Database) -> None:
    database.machine.app("pm2 stop orquestrador-v3 >/dev/null")
    database.stop()


MENDED = (
    Fault("stopped", Database.stop, "service_stopped", ("service", "reconnect")),
    Fault("killed", Database.kill, "service_starting", ("wait", "reconnect")),
    Fault("halted", Database.halt, "server_halted", ("server_go_on", "reconnect"), but=()),
    Fault("both_down", _both_down, "service_stopped", ("service", "restart"), but=(SERVER, "app")),
    Fault("crash_loop", _looping, "service_stopped", ("service", "restart"), but=(SERVER, "app")),
    Fault("not_reconnected", _started_with_wrong_port, "not_reconnected", ("restart",), but=("app",)),
)


@pytest.mark.parametrize("fault", MENDED, ids=lambda fault: fault.id)
def test_what_can_be_mended_here_is(
    fault: Fault, machine: Machine, database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    fault.break_it(database)
    with untouched(but=fault.but):
        run = emergency("database")
    assert run.rc == 0, run.output
    assert machine.health()["database"] == "connected"
    assert database.active() == "active"
    assert diagnosis(run)["scenario"] == fault.scenario
    assert tuple(climbed(run)) == fault.rungs
    assert all(step["used_s"] <= step["planned_s"] for step in steps(run).values() if step.get("used_s"))
    assert steps(run)["diagnosis"]["used_s"] <= 6


def _wrong_password(database: Database) -> None:
    database.rotate_password()


def _unresolved(database: Database) -> None:
    database.env("DB_HOST", "banco.invalid")
    database.restart_app()


LEFT = (
    Fault("bad_config", lambda d: d.misconfigure("no_such_option=1"), "L3", ("service",), but=(SERVER,)),
    Fault("disk_full", Database.fill_disk, "L4", ("service",), but=(SERVER,)),
    Fault("directory_lost", Database.lose_directory, "L3", ("service",), but=(SERVER,)),
    Fault("masked", Database.mask, "L3", (), but=()),
    Fault("wrong_password", _wrong_password, "L3", (), but=()),
    Fault("unresolved", _unresolved, "L3", (), but=()),
)
_SAID = {
    "bad_config": "unknown variable 'no_such_option=1'",
    "disk_full": "No space left on device",
    "directory_lost": "Permission denied",
    "masked": "is masked",
    "wrong_password": "refuses the application's account orquestrador",
    "unresolved": "banco.invalid",
}


@pytest.mark.parametrize("fault", LEFT, ids=lambda fault: fault.id)
def test_what_nobody_can_mend_here_is_told_and_left(
    fault: Fault, machine: Machine, database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    fault.break_it(database)
    with untouched(but=fault.but):
        run = emergency("database")
    assert run.rc != 0, run.output
    assert tuple(climbed(run)) == fault.rungs
    assert _SAID[fault.id] in " ".join(run.output.split())
    assert run.seconds < 45
    if fault.rungs:
        before = machine.out("systemctl show -p InvocationID --value mysql")
        assert steps(run)["service"]["evidence"]["cause"]
        machine.out("sleep 1.5")
        assert machine.out("systemctl show -p InvocationID --value mysql") == before, "nothing tries again and again"
    else:
        assert diagnosis(run)["level"] == fault.scenario


def test_the_right_password_in_env_and_the_application_is_restarted(
    machine: Machine, database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    database.env("DB_PASSWORD", database.rotate_password())
    with untouched(but=("app",)):
        run = emergency("database")
    assert run.rc == 0, run.output
    assert climbed(run) == ["restart"]
    assert machine.health()["database"] == "connected"


def test_connections_of_a_stranger_are_named_and_ended_only_when_approved(
    machine: Machine, database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    database.take_connections(9)
    database.allow(9 + database.sessions("orquestrador"))
    with untouched():
        run = emergency("database", "-e", "emergency_idle_s=1")
    assert run.rc != 0
    assert diagnosis(run)["scenario"] == "full_by_idle"
    assert climbed(run) == []
    assert database.sessions(STRANGER) == 9, "nobody approved"
    held = steps(run)["evidence"]["evidence"]["holders"]
    assert {row["user"]: row["sessions"] for row in held}[STRANGER] == 9
    with untouched():
        run = emergency("database", "-e", "kill_idle_connections=true", "-e", "emergency_idle_s=1")
    assert run.rc == 0, run.output
    assert climbed(run) == ["idle_connections", "reconnect"]
    assert database.sessions(STRANGER) == 0
    assert database.sessions("orquestrador") >= 1, "the application's own are not ended"


def test_who_holds_the_connections_is_seen_while_others_ask_for_one(
    database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    database.take_connections(9)
    database.allow(9 + database.sessions("orquestrador"))
    database.ask_for_connections(4)
    with untouched():
        run = emergency("database", "-e", "emergency_idle_s=1")
    assert run.rc != 0
    assert diagnosis(run)["scenario"] == "full_by_idle"
    held = steps(run)["evidence"]["evidence"]["holders"]
    assert max(row["sessions"] for row in held if row["user"] == STRANGER) >= 9


def test_connections_of_the_application_itself_come_back_by_its_restart(
    database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    held = database.widen_pool()
    database.allow(held)
    with untouched(but=("app",)):
        run = emergency("database")
    assert run.rc == 0, run.output
    assert diagnosis(run)["scenario"] == "full_by_app"
    assert climbed(run) == ["restart"]
    assert database.sessions("orquestrador") < held


def test_a_read_only_server_is_found_by_what_it_refused_and_left_so(
    machine: Machine, database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    machine.sql("SET GLOBAL super_read_only = ON")
    asked = '{"userId":1,"title":"x"}'
    url = "http://127.0.0.1:3001/api/trpc/conversation.create"
    machine.out(f"curl -s -m 5 -H 'Content-Type: application/json' -d '{asked}' {url}", user="flavio")
    with untouched():
        run = emergency("database")
    assert run.rc != 0, run.output
    assert diagnosis(run)["scenario"] == "read_only"
    assert diagnosis(run)["level"] == "L3"
    assert machine.sql("SELECT @@super_read_only") == ["1"]
    machine.sql("SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF")
    assert emergency("database").rc == 0, "the log still has it, the server says otherwise"


def test_who_holds_a_lock_is_named_and_left(database: Database, emergency: Emergency, untouched: Untouched) -> None:
    database.background("lock", f"LOCK TABLES {DATABASE}.message WRITE")
    with database.load("message"), untouched():
        database.machine.wait("the pool to be stuck", lambda: database.machine.health().get("database") == "error")
        run = emergency("database")
    assert run.rc != 0, run.output
    assert diagnosis(run)["scenario"] == "blocked"
    waits = steps(run)["evidence"]["evidence"]["waits"]
    assert waits[0]["object"] == f"{DATABASE}.message"
    assert waits[0]["blocker_user"] == "root"
    assert waits[0]["waited_s"] >= 1
    assert waits[0]["blocking_query"].lower().startswith("select sleep(?")
    assert database.sessions("root") >= 1


def test_a_crashed_table_is_repaired_where_its_engine_can(
    machine: Machine, database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    database.crash_table()
    rows = machine.sql(f"SELECT COUNT(*) FROM {DATABASE}.message")
    with untouched():
        run = emergency("database")
    assert run.rc == 0, run.output
    assert diagnosis(run)["scenario"] == "crashed_tables"
    assert climbed(run) == ["tables"]
    assert machine.sql(f"SELECT COUNT(*) FROM {DATABASE}.brittle") == rows
    again = emergency("database")
    assert again.rc == 0, again.output
    assert again.changed == 0


def test_check_mode_touches_nothing_and_names_the_rungs(
    database: Database, emergency: Emergency, untouched: Untouched
) -> None:
    database.stop()
    with untouched():
        run = emergency("database", "--check")
    assert climbed(run) == ["service", "reconnect", "restart", "start_anew"]
    assert database.active() == "inactive"
