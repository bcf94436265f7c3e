"""What a managed host knows of procedures; titles, steps and budgets are the controller's (orquestrador_ops)."""

from __future__ import annotations

from typing import NamedTuple

# Only looks and tells which procedure it is.
AUTO = "auto"


class Emergency(NamedTuple):
    """An emergency procedure. A critical one of its ``checks`` calls for it.

    ``measured``: it is recognised by how quickly the application answers and how its memory went. ``needs_no_room``: it
    does without room on the disk, for a lease as well. ``preempts``: it may take the lease from a routine.
    """

    name: str
    severity: str
    checks: tuple[str, ...]
    measured: bool = False
    needs_no_room: bool = False
    preempts: bool = True


# Root cause before symptom: an application that crash-loops because its database is gone is healed there.
EMERGENCIES = {
    one.name: one
    for one in (
        Emergency("database", "medium", ("mysql.reachable", "app.database")),
        Emergency("offline", "critical", ("pm2.daemon", "pm2.online", "port.open", "http.status", "app.status")),
        Emergency("performance", "high", ("http.latency", "cpu.app", "memory.app"), measured=True),
        Emergency("disk", "high", ("host.disk",), needs_no_room=True, preempts=False),
    )
}
SEVERITIES = {name: one.severity for name, one in EMERGENCIES.items()}
MEASURED = frozenset([AUTO, *(one.name for one in EMERGENCIES.values() if one.measured)])

# Who may take the lease from whom: an emergency from a routine, never from an operation such as a restore.
PREEMPTING = frozenset(["triage", "watch", *(one.name for one in EMERGENCIES.values() if one.preempts)])
PREEMPTIBLE = frozenset(["daily", "weekly", "monthly", "quarterly"])
