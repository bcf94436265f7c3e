"""The emergency procedures: what they begin with, the rungs of their ladders, and triage."""

from __future__ import annotations

from typing import NamedTuple

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador.procedures import EMERGENCIES

from .descriptor import RUNNING, Procedure, Step

# What every emergency procedure begins with.
_BEGIN = (
    Step(
        "gate",
        msg("Circuit breaker and maintenance"),
        "matriz-de-escalacao",
        result="emergency_gate",
        optional=True,
        looks=True,
    ),
    Step("diagnosis", msg("Diagnosis"), "procedimentos-de-emergencia", result="emergency_result", looks=True),
    Step("lease", msg("Lease of the host"), "procedimentos-de-emergencia", optional=True, looks=True),
    Step(
        "evidence",
        msg("Evidence kept before anything is changed"),
        "procedimentos-de-emergencia",
        optional=True,
        looks=True,
    ),
)
_ESCALATION = Step("escalation", msg("Escalation"), "matriz-de-escalacao", result="escalation_result", optional=True)


_PROVEN = msg("The application proven well")
_PM2 = ("pm2.daemon", "pm2.online")
_HEAVY = ("http.latency", "cpu.app", "memory.app")


class _Rung(NamedTuple):
    """A rung of the ladder of the same name on the host (``emergency/ladders``), or what is looked at between two."""

    id: str
    title: Message
    looks: bool = False


def _emergency(
    name: str,
    source: str,
    rungs: tuple[_Rung, ...],
    checks: tuple[str, ...],
    *,
    title: Message,
    alert: Message,
    budget_s: int,
    proof: tuple[str, ...],
    proven: Message = _PROVEN,
) -> Procedure:
    """A procedure that shows those rungs, the gentlest first, that its ladder had to climb."""
    climbed = (Step(rung.id, rung.title, source, optional=True, looks=rung.looks) for rung in rungs)
    return Procedure(
        name,
        title,
        source,
        f"playbooks/emergency/{name}.yml",
        budget_s,
        steps=(*_BEGIN, *climbed, Step("application", proven, source, checks), _ESCALATION),
        proof=("diagnosis", *proof, "application"),
        emergency=EMERGENCIES[name],
        alert=alert,
    )


OFFLINE = _emergency(
    "offline",
    "alerta-critico",
    (
        _Rung("go_on", msg("Halted processes told to go on")),
        _Rung("free_port", msg("Port freed from a foreign process")),
        _Rung("roll_back", msg("Back to the build before")),
        _Rung("daemon", msg("PM2 started by its unit")),
        _Rung("reload", msg("Reload of the application")),
        _Rung("end_hung", msg("Processes that hang ended and started again")),
        _Rung("restart", msg("Restart of the application")),
        _Rung("resurrect", msg("PM2's saved list started")),
        _Rung("start_anew", msg("Stop, and start from the ecosystem file")),
    ),
    (*_PM2, *RUNNING),
    title=msg("Emergency: system offline"),
    alert=msg("system offline"),
    budget_s=120,
    proof=(),
)

PERFORMANCE = _emergency(
    "performance",
    "alerta-alto",
    (
        _Rung("resources", msg("Resources"), looks=True),
        _Rung("heaviest", msg("The heaviest process"), looks=True),
        _Rung("queries", msg("Slow and waiting queries"), looks=True),
        _Rung("remedy", msg("What can be done from here"), looks=True),
        _Rung("second_look", msg("Second look before anything is touched"), looks=True),
        _Rung("heap_snapshot", msg("Heap snapshot")),
        _Rung("flush", msg("Flush of PM2's logs")),
        _Rung("reload", msg("Reload, worker by worker")),
        _Rung("restart", msg("Restart of the application")),
        _Rung("observed", msg("Observed, and the trend")),
    ),
    (*_PM2, *RUNNING, *_HEAVY),
    title=msg("Emergency: degraded performance"),
    alert=msg("degraded performance"),
    budget_s=300,
    proof=("remedy", "observed"),
)

DISK = _emergency(
    "disk",
    "alerta-alto",
    (
        _Rung("usage", msg("What fills the disk"), looks=True),
        _Rung("log_archives", msg("Expired archives of logs")),
        _Rung("backups", msg("Expired backups")),
        _Rung("npm_cache", msg("npm's cache")),
        _Rung("freed", msg("Room on the disk")),
    ),
    ("host.disk", *_PM2, *RUNNING),
    title=msg("Emergency: disk full"),
    alert=msg("disk full"),
    budget_s=300,
    proof=("freed",),
    proven=msg("Disk and application proven well"),
)

DATABASE = _emergency(
    "database",
    "alerta-medio",
    (
        _Rung("service", msg("Service of the database started")),
        _Rung("wait", msg("The database waited for")),
        _Rung("server_go_on", msg("Halted server told to go on")),
        _Rung("service_restart", msg("Restart of the database's service")),
        _Rung("idle_connections", msg("Idle connections ended")),
        _Rung("tables", msg("Tables checked and repaired")),
        _Rung("reconnect", msg("The application reconnects by itself")),
        _Rung("daemon", msg("PM2 started by its unit")),
        _Rung("restart", msg("Restart of the application")),
        _Rung("resurrect", msg("PM2's saved list started")),
        _Rung("start_anew", msg("Stop, and start from the ecosystem file")),
    ),
    ("mysql.reachable", "mysql.connections", *_PM2, *RUNNING),
    title=msg("Emergency: database connection failed"),
    alert=msg("database connection failed"),
    budget_s=180,
    # Tables that are still damaged are no proof of anything, however well the rest answers.
    proof=("tables",),
)

TRIAGE = Procedure(
    name="triage",
    title=msg("Emergency triage"),
    source="procedimentos-de-emergencia",
    playbook="playbooks/emergency/triage.yml",
    budget_s=30,
    proof=("triage",),
    steps=(
        Step("triage", msg("Which emergency it is"), "procedimentos-de-emergencia", result="emergency_triage"),
        Step(
            "application",
            msg("What was seen"),
            "procedimentos-de-emergencia",
            ("mysql.reachable", *_PM2, *RUNNING, *_HEAVY, "host.disk"),
        ),
    ),
)
