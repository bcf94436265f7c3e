"""The emergency procedures: what they begin with, the rungs of their ladders, and triage."""

from __future__ import annotations

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador.procedures import EMERGENCIES

from .descriptor import RUNNING, Procedure, Step

_PROCEDURES, _MATRIX = "procedimentos-de-emergencia", "matriz-de-escalacao"
_PROVEN = msg("The application proven well")
_PM2 = ("pm2.daemon", "pm2.online")
_HEAVY = ("http.latency", "cpu.app", "memory.app")


def _step(name: str, title: Message, *, looks: bool = False, result: str = "", source: str = "") -> Step:
    """A step that there is only where it was come to: rungs of a ladder, and what is looked at between two."""
    return Step(name, title, result=result, optional=True, looks=looks, source=source)


def _steps(*rungs: Step, checks: tuple[str, ...], proven: Message = _PROVEN) -> tuple[Step, ...]:
    """Those of an emergency procedure: ``rungs``, the gentlest first, between what all of them begin and end with."""
    return (
        _step("gate", msg("Circuit breaker and maintenance"), looks=True, result="emergency_gate", source=_MATRIX),
        Step("diagnosis", msg("Diagnosis"), result="emergency_result", looks=True, source=_PROCEDURES),
        _step("lease", msg("Lease of the host"), looks=True, source=_PROCEDURES),
        _step("evidence", msg("Evidence kept before anything is changed"), looks=True, source=_PROCEDURES),
        *rungs,
        Step("application", proven, checks),
        _step("escalation", msg("Escalation"), result="escalation_result", source=_MATRIX),
    )


OFFLINE = Procedure(
    name="offline",
    title=msg("Emergency: system offline"),
    source="alerta-critico",
    playbook="playbooks/emergency/offline.yml",
    budget_s=120,
    emergency=EMERGENCIES["offline"],
    alert=msg("system offline"),
    proof=("diagnosis", "application"),
    steps=_steps(
        _step("go_on", msg("Halted processes told to go on")),
        _step("free_port", msg("Port freed from a foreign process")),
        _step("roll_back", msg("Back to the build before")),
        _step("daemon", msg("PM2 started by its unit")),
        _step("reload", msg("Reload of the application")),
        _step("end_hung", msg("Processes that hang ended and started again")),
        _step("restart", msg("Restart of the application")),
        _step("resurrect", msg("PM2's saved list started")),
        _step("start_anew", msg("Stop, and start from the ecosystem file")),
        checks=(*_PM2, *RUNNING),
    ),
)

PERFORMANCE = Procedure(
    name="performance",
    title=msg("Emergency: degraded performance"),
    source="alerta-alto",
    playbook="playbooks/emergency/performance.yml",
    budget_s=300,
    emergency=EMERGENCIES["performance"],
    alert=msg("degraded performance"),
    proof=("diagnosis", "remedy", "observed", "application"),
    steps=_steps(
        _step("resources", msg("Resources"), looks=True),
        _step("heaviest", msg("The heaviest process"), looks=True),
        _step("queries", msg("Slow and waiting queries"), looks=True),
        _step("remedy", msg("What can be done from here"), looks=True),
        _step("second_look", msg("Second look before anything is touched"), looks=True),
        _step("heap_snapshot", msg("Heap snapshot")),
        _step("flush", msg("Flush of PM2's logs")),
        _step("reload", msg("Reload, worker by worker")),
        _step("restart", msg("Restart of the application")),
        _step("observed", msg("Observed, and the trend")),
        checks=(*_PM2, *RUNNING, *_HEAVY),
    ),
)

DISK = Procedure(
    name="disk",
    title=msg("Emergency: disk full"),
    source="alerta-alto",
    playbook="playbooks/emergency/disk.yml",
    budget_s=300,
    emergency=EMERGENCIES["disk"],
    alert=msg("disk full"),
    proof=("diagnosis", "freed", "application"),
    steps=_steps(
        _step("usage", msg("What fills the disk"), looks=True),
        _step("log_archives", msg("Expired archives of logs")),
        _step("backups", msg("Expired backups")),
        _step("npm_cache", msg("npm's cache")),
        _step("freed", msg("Room on the disk")),
        checks=("host.disk", *_PM2, *RUNNING),
        proven=msg("Disk and application proven well"),
    ),
)

DATABASE = Procedure(
    name="database",
    title=msg("Emergency: database connection failed"),
    source="alerta-medio",
    playbook="playbooks/emergency/database.yml",
    budget_s=180,
    emergency=EMERGENCIES["database"],
    alert=msg("database connection failed"),
    # Tables that are still damaged are no proof of anything, however well the rest answers.
    proof=("diagnosis", "tables", "application"),
    steps=_steps(
        _step("service", msg("Service of the database started")),
        _step("wait", msg("The database waited for")),
        _step("server_go_on", msg("Halted server told to go on")),
        _step("service_restart", msg("Restart of the database's service")),
        _step("idle_connections", msg("Idle connections ended")),
        _step("tables", msg("Tables checked and repaired")),
        _step("reconnect", msg("The application reconnects by itself")),
        _step("daemon", msg("PM2 started by its unit")),
        _step("restart", msg("Restart of the application")),
        _step("resurrect", msg("PM2's saved list started")),
        _step("start_anew", msg("Stop, and start from the ecosystem file")),
        checks=("mysql.reachable", "mysql.connections", *_PM2, *RUNNING),
    ),
)

TRIAGE = Procedure(
    name="triage",
    title=msg("Emergency triage"),
    source=_PROCEDURES,
    playbook="playbooks/emergency/triage.yml",
    budget_s=30,
    proof=("triage",),
    steps=(
        Step("triage", msg("Which emergency it is"), result="emergency_triage"),
        Step("application", msg("What was seen"), ("mysql.reachable", *_PM2, *RUNNING, *_HEAVY, "host.disk")),
    ),
)
