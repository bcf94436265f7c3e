"""The names under which tasks register results that other roles' tasks read.

They are read from the variables by these names, not handed over as arguments: Ansible would template every string of a
snapshot again, for each host, which takes longer than what is done with it. A role that registers its result under
another name has its readers find nothing; a unit test compares this table with the roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Registered(NamedTuple):
    """The name of a result, and the roles that register it."""

    name: str
    roles: tuple[str, ...]


RESULTS: Mapping[str, Registered] = {
    # The run that is open: its identity, and who holds the lease for it.
    "run": Registered("report_run", ("report",)),
    # The last look at the host. The cycle of a watch looks itself, in the shape of a probe, and what it has to tell of
    # a host takes the place of what it saw there.
    "health": Registered("health_result", ("health", "watch")),
    # What a procedure did, or what a cycle of the watch found that no procedure treats, in the same shape.
    "emergency": Registered("emergency_result", ("emergency", "watch")),
    # The first look of an emergency, as a fact: the conclusion's, where there is no other.
    "triage": Registered("emergency_triage", ("emergency",)),
    # Whether the host may be touched.
    "gate": Registered("emergency_gate", ("escalation",)),
    # Of all hosts: how the cycle began, and what it decided about each.
    "cycle": Registered("watch_cycle", ("watch",)),
    "seen": Registered("watch_seen", ("watch",)),
    # Service levels, one result for each period; whether the logs behind them could be read.
    "sla": Registered("sla_result", ("sla",)),
    "log_rates": Registered("logs_rates_result", ("logs",)),
}


def registered(variables: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """Return the registered result of a part of a procedure, untemplated; empty when there is none."""
    result = variables.get(RESULTS[part].name)
    return result if isinstance(result, Mapping) else {}


def decision_for(variables: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    """Return the watch cycle's decision about a host; empty when there is nothing to do."""
    return (registered(variables, "seen").get("todo") or {}).get(host) or {}
